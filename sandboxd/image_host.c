/* The skeleton of the image "host"; see image_host.h. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sandboxd/image_host.h"

#define COPY_MAX  (4 * 1024 * 1024)

typedef struct {
    int     root;           /* the skeleton */
    uid_t   uid;
    gid_t   gid;
} skeleton;

typedef struct {
    const char  *path;
    mode_t       mode;
} skeleton_dir;

typedef struct {
    const char  *path;
    mode_t       mode;
    const char  *text;
} skeleton_file;

typedef struct {
    const char  *path;
    const char  *target;
} skeleton_link;

static const skeleton_dir  dirs[] = {
    { "usr", 0755 },
    { "etc", 0755 },
    { "etc/alternatives", 0755 },
    { "etc/ld.so.conf.d", 0755 },
    { "etc/pam.d", 0755 },
    { "etc/profile.d", 0755 },
    { "etc/ssl", 0755 },
    { "etc/ssl/certs", 0755 },
    { "dev", 0755 },
    { "home", 0755 },
    { "media", 0755 },
    { "mnt", 0755 },
    { "opt", 0755 },
    { "proc", 0555 },
    { "root", 0700 },
    { "run", 0755 },
    { "srv", 0755 },
    { "sys", 0555 },
    { "tmp", 01777 },
    { "var", 0755 },
    { "var/cache", 0755 },
    { "var/lib", 0755 },
    { "var/local", 0755 },
    { "var/log", 0755 },
    { "var/mail", 0755 },
    { "var/opt", 0755 },
    { "var/spool", 0755 },
    { "var/tmp", 01777 },
    { "workspace", 0755 }
};

/* The names and numbers are those that Debian gives to every system. */
static const skeleton_file  files[] = {
    { "etc/passwd", 0644,
      "root:x:0:0:root:/root:/bin/bash\n"
      "daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n"
      "bin:x:2:2:bin:/bin:/usr/sbin/nologin\n"
      "sys:x:3:3:sys:/dev:/usr/sbin/nologin\n"
      "sync:x:4:65534:sync:/bin:/bin/sync\n"
      "games:x:5:60:games:/usr/games:/usr/sbin/nologin\n"
      "man:x:6:12:man:/var/cache/man:/usr/sbin/nologin\n"
      "lp:x:7:7:lp:/var/spool/lpd:/usr/sbin/nologin\n"
      "mail:x:8:8:mail:/var/mail:/usr/sbin/nologin\n"
      "news:x:9:9:news:/var/spool/news:/usr/sbin/nologin\n"
      "uucp:x:10:10:uucp:/var/spool/uucp:/usr/sbin/nologin\n"
      "proxy:x:13:13:proxy:/bin:/usr/sbin/nologin\n"
      "www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin\n"
      "backup:x:34:34:backup:/var/backups:/usr/sbin/nologin\n"
      "list:x:38:38:Mailing List Manager:/var/list:/usr/sbin/nologin\n"
      "irc:x:39:39:ircd:/run/ircd:/usr/sbin/nologin\n"
      "_apt:x:42:65534::/nonexistent:/usr/sbin/nologin\n"
      "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n" },
    { "etc/group", 0644,
      "root:x:0:\ndaemon:x:1:\nbin:x:2:\nsys:x:3:\nadm:x:4:\ntty:x:5:\n"
      "disk:x:6:\nlp:x:7:\nmail:x:8:\nnews:x:9:\nuucp:x:10:\nman:x:12:\n"
      "proxy:x:13:\nkmem:x:15:\ndialout:x:20:\nfax:x:21:\nvoice:x:22:\n"
      "cdrom:x:24:\nfloppy:x:25:\ntape:x:26:\nsudo:x:27:\naudio:x:29:\n"
      "dip:x:30:\nwww-data:x:33:\nbackup:x:34:\noperator:x:37:\nlist:x:38:\n"
      "irc:x:39:\nsrc:x:40:\nshadow:x:42:\nutmp:x:43:\nvideo:x:44:\n"
      "sasl:x:45:\nplugdev:x:46:\nstaff:x:50:\ngames:x:60:\nusers:x:100:\n"
      "nogroup:x:65534:\n" },
    { "etc/shadow", 0640, "root:*:19000:0:99999:7:::\n" },
    { "etc/gshadow", 0640, "root:*::\n" },
    { "etc/hostname", 0644, "sandbox\n" },
    { "etc/hosts", 0644,
      "127.0.0.1\tlocalhost\n"
      "::1\tlocalhost ip6-localhost ip6-loopback\n" },
    { "etc/resolv.conf", 0644,
      "# There is no name server in here.\n"
      "options timeout:1 attempts:1\n" },
    { "etc/nsswitch.conf", 0644,
      "passwd: files\ngroup: files\nshadow: files\n"
      "hosts: files dns\nnetworks: files\nprotocols: files\n"
      "services: files\nethers: files\nrpc: files\n" },
    { "etc/host.conf", 0644, "multi on\n" },
    { "etc/timezone", 0644, "Etc/UTC\n" },
    { "etc/shells", 0644, "/bin/sh\n/bin/bash\n" },
    { "etc/environment", 0644, "" },
    { "etc/fstab", 0644, "" },
    { "etc/machine-id", 0644, "" },
    /* Root becomes any user (su, runuser); a user becomes nobody else, with or
     * without a password: no program gains privileges in a sandbox. */
    { "etc/pam.d/other", 0644,
      "auth sufficient pam_rootok.so\n"
      "auth required pam_deny.so\n"
      "account required pam_permit.so\n"
      "password required pam_unix.so yescrypt\n"
      "session required pam_permit.so\n" },
    { "etc/profile", 0644,
      "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"
      "export PATH\n"
      "for i in /etc/profile.d/*.sh; do\n"
      "    [ -r \"$i\" ] && . \"$i\"\n"
      "done\n"
      "unset i\n" },
    { "etc/bash.bashrc", 0644,
      "[ -z \"$PS1\" ] || PS1='\\u@\\h:\\w\\$ '\n" },
    { "root/.profile", 0644, "[ -f ~/.bashrc ] && . ~/.bashrc\n" },
    { "root/.bashrc", 0644, "" }
};

static const skeleton_link  links[] = {
    { "etc/localtime", "/usr/share/zoneinfo/Etc/UTC" },
    { "etc/mtab", "/proc/self/mounts" },
    { "etc/os-release", "../usr/lib/os-release" },
    { "var/lock", "/run/lock" },
    { "var/run", "/run" }
};

/* What the host's packages put there for everybody to read, the same on every
 * machine: no name, address or account of this one is in it. */
static const char *const  copied[] = {
    "etc/debian_version", "etc/ld.so.cache", "etc/ld.so.conf",
    "etc/matplotlibrc",
    "etc/magic", "etc/mime.types", "etc/protocols", "etc/rpc",
    "etc/services", "etc/ssl/openssl.cnf",
    "etc/ssl/certs/ca-certificates.crt"
};


static int
failed(error **err, const char *path)
{
    return error_set(err, 500, "image", "image host: %s: %s", path,
                     strerror(errno));
}


static int
own(const skeleton *sk, const char *path)
{
    return fchownat(sk->root, path, sk->uid, sk->gid, AT_SYMLINK_NOFOLLOW);
}


static int
put_dir(const skeleton *sk, const char *path, mode_t mode)
{
    if (mkdirat(sk->root, path, 0700) == -1 || own(sk, path) == -1) {
        return -1;
    }

    return fchmodat(sk->root, path, mode, 0);
}


static int
put_file(const skeleton *sk, const char *path, mode_t mode, const char *text,
    size_t len)
{
    int      fd, rc, saved;
    ssize_t  n;

    fd = openat(sk->root, path,
                O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd == -1) {
        return -1;
    }

    rc = 0;

    while (len > 0 && rc == 0) {
        n = write(fd, text, len);

        if (n <= 0) {
            rc = -1;
            break;
        }

        text += n;
        len -= (size_t) n;
    }

    if (rc == 0) {
        rc = fchown(fd, sk->uid, sk->gid);
    }

    if (rc == 0) {
        rc = fchmod(fd, mode);
    }

    saved = errno;
    close(fd);
    errno = saved;

    return rc;
}


static int
put_link(const skeleton *sk, const char *path, const char *target)
{
    if (symlinkat(target, sk->root, path) == -1) {
        return -1;
    }

    return own(sk, path);
}


/* A file that is missing, isn't plain or isn't meant for everybody is left
 * out. */
static int
copy_file(const skeleton *sk, const char *path)
{
    int           fd, rc, saved;
    char          source[256], *text;
    size_t        len;
    ssize_t       n;
    struct stat   st;

    snprintf(source, sizeof(source), "/%s", path);

    fd = open(source, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    if (fd == -1) {
        return 0;
    }

    if (fstat(fd, &st) == -1 || !S_ISREG(st.st_mode)
        || !(st.st_mode & S_IROTH) || st.st_size > COPY_MAX)
    {
        close(fd);
        return 0;
    }

    text = malloc((size_t) st.st_size + 1);
    if (text == NULL) {
        close(fd);
        errno = ENOMEM;
        return -1;
    }

    len = 0;

    while (len < (size_t) st.st_size) {
        n = read(fd, text + len, (size_t) st.st_size - len);

        if (n <= 0) {
            break;
        }

        len += (size_t) n;
    }

    close(fd);

    rc = put_file(sk, path, 0644, text, len);

    saved = errno;
    free(text);
    errno = saved;

    return rc;
}


static bool
has_prefix(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}


/* Links into /usr, and from one name of the directory to another: no file of
 * the directory, whatever an administrator left there. */
static bool
link_is_public(const char *target)
{
    if (strstr(target, "..") != NULL) {
        return false;
    }

    return has_prefix(target, "/usr/") || strchr(target, '/') == NULL;
}


static int
copy_links(const skeleton *sk, const char *path)
{
    DIR            *dir;
    int             rc;
    char            source[512], to[512], target[512];
    ssize_t         n;
    struct dirent  *entry;

    snprintf(source, sizeof(source), "/%s", path);

    dir = opendir(source);
    if (dir == NULL) {
        return 0;
    }

    rc = 0;

    while (rc == 0 && (entry = readdir(dir)) != NULL) {
        n = readlinkat(dirfd(dir), entry->d_name, target, sizeof(target) - 1);

        if (n <= 0) {
            continue;
        }

        target[n] = '\0';

        if (link_is_public(target)
            && (size_t) snprintf(to, sizeof(to), "%s/%s", path, entry->d_name)
               < sizeof(to))
        {
            rc = put_link(sk, to, target);
        }
    }

    closedir(dir);

    return rc;
}


/* The linker's configuration names directories only; its files matter to
 * ldconfig, should somebody run it inside. */
static int
copy_ld_conf(const skeleton *sk)
{
    DIR            *dir;
    int             rc;
    char            path[300];
    size_t          len;
    struct dirent  *entry;

    dir = opendir("/etc/ld.so.conf.d");
    if (dir == NULL) {
        return 0;
    }

    rc = 0;

    while (rc == 0 && (entry = readdir(dir)) != NULL) {
        len = strlen(entry->d_name);

        if (len < 6 || strcmp(entry->d_name + len - 5, ".conf") != 0) {
            continue;
        }

        snprintf(path, sizeof(path), "etc/ld.so.conf.d/%s", entry->d_name);
        rc = copy_file(sk, path);
    }

    closedir(dir);

    return rc;
}


/* /bin and its like are links into /usr on every Debian of today; where they
 * are directories, they can't be offered without their files. */
static int
put_usr_links(const skeleton *sk, error **err)
{
    char         source[16], target[64];
    size_t       i;
    ssize_t      n;
    struct stat  st;

    static const char *const  names[] = {
        "bin", "lib", "lib32", "lib64", "libx32", "sbin"
    };

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(source, sizeof(source), "/%s", names[i]);

        if (lstat(source, &st) == -1) {
            continue;
        }

        n = readlink(source, target, sizeof(target) - 1);

        if (n > 0) {
            target[n] = '\0';
        }

        if (n <= 0 || (!has_prefix(target, "usr/")
                       && !has_prefix(target, "/usr/")))
        {
            return error_set(err, 500, "image", "image host: %s is not a link "
                             "into /usr on this machine", source);
        }

        if (put_link(sk, names[i], target) == -1) {
            return failed(err, names[i]);
        }
    }

    return 0;
}


static int
skeleton_fill(const skeleton *sk, error **err)
{
    size_t  i;

    for (i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++) {
        if (put_dir(sk, dirs[i].path, dirs[i].mode) == -1) {
            return failed(err, dirs[i].path);
        }
    }

    for (i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        if (put_file(sk, files[i].path, files[i].mode, files[i].text,
                     strlen(files[i].text)) == -1)
        {
            return failed(err, files[i].path);
        }
    }

    for (i = 0; i < sizeof(links) / sizeof(links[0]); i++) {
        if (put_link(sk, links[i].path, links[i].target) == -1) {
            return failed(err, links[i].path);
        }
    }

    for (i = 0; i < sizeof(copied) / sizeof(copied[0]); i++) {
        if (copy_file(sk, copied[i]) == -1) {
            return failed(err, copied[i]);
        }
    }

    if (copy_links(sk, "etc/alternatives") == -1
        || copy_links(sk, "etc/ssl/certs") == -1
        || copy_ld_conf(sk) == -1)
    {
        return failed(err, "etc");
    }

    return put_usr_links(sk, err);
}


int
image_host_build(const char *dir, uid_t uid, gid_t gid, error **err)
{
    int       rc;
    mode_t    mask;
    skeleton  sk;

    sk.uid = uid;
    sk.gid = gid;
    sk.root = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

    if (sk.root == -1) {
        return failed(err, dir);
    }

    mask = umask(0);
    rc = skeleton_fill(&sk, err);
    umask(mask);

    if (rc == 0 && (fchown(sk.root, uid, gid) == -1
                    || fchmod(sk.root, 0755) == -1))
    {
        rc = failed(err, dir);
    }

    close(sk.root);

    return rc;
}
