/*
 * A plugin of QEMU's (docs/devel/tcg-plugins.rst of its source) that counts the
 * instructions which a machine's processors carry out, and the blocks of them
 * that are translated.  The numbers are read from the outside, from the memory
 * of the process: see bench/machines.pl.  QEMU's own header is in no package of
 * Debian 12, so what is used of it stands here.
 */

#include <stddef.h>
#include <stdint.h>

#define INLINE_ADD_U64  0

typedef uint64_t                 plugin_id;
typedef struct qemu_plugin_tb    block;

extern int  qemu_plugin_version;
int  qemu_plugin_version = 1;

void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id id,
    void (*cb)(plugin_id id, block *b));
void qemu_plugin_register_vcpu_tb_exec_inline(block *b, int op, void *to,
    uint64_t add);
size_t qemu_plugin_tb_n_insns(const block *b);

int qemu_plugin_install(plugin_id id, const void *info, int argc,
    char **argv);

uint64_t  sandbox_counts[2];     /* instructions, blocks */


static void
count_block(plugin_id id, block *b)
{
    __atomic_fetch_add(&sandbox_counts[1], 1, __ATOMIC_RELAXED);
    qemu_plugin_register_vcpu_tb_exec_inline(b, INLINE_ADD_U64,
                                             &sandbox_counts[0],
                                             qemu_plugin_tb_n_insns(b));
}


int
qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv)
{
    qemu_plugin_register_vcpu_tb_trans_cb(id, count_block);

    return 0;
}
