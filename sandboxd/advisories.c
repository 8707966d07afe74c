/* What is known against other programs; see advisories.h. */

#include <string.h>

#include "sandboxd/advisories.h"

static const advisory  advisories[] = {
    { "firecracker", "CVE-2026-5747",
      "a guest's root can write out of bounds in the VMM",
      { { 1, 13, 0 } }, { { 1, 14, 4 } }, false,
      "only with --enable-pci, which sandboxd never gives",
      "https://aws.amazon.com/security/security-bulletins/2026-015-aws" },

    { "firecracker", "CVE-2026-5747",
      "a guest's root can write out of bounds in the VMM",
      { { 1, 15, 0 } }, { { 1, 15, 1 } }, false,
      "only with --enable-pci, which sandboxd never gives",
      "https://aws.amazon.com/security/security-bulletins/2026-015-aws" },

    { "firecracker", "CVE-2026-122192",
      "a guest can reach the VMM's memory after memory wasn't given back",
      { { 0, 23, 0 } }, { { 1, 16, 2 } }, true,
      "machines give free memory back; sandboxd refuses these versions",
      "https://www.cve.org/CVERecord?id=CVE-2026-122192" },

    { "firecracker", "firecracker#5958",
      "connections from the guest hang after a snapshot was loaded",
      { { 1, 16, 0 } }, { { 1, 16, 1 } }, true,
      "sandboxd refuses this version",
      "https://github.com/firecracker-microvm/firecracker/pull/5958" },

    { "firecracker", "firecracker#6100",
      "connections to a guest hang after it was paused and resumed",
      { { 1, 16, 0 } }, { { 1, 16, 2 } }, false,
      "a machine goes on only where its memory couldn't be kept, and then is "
      "ended",
      "https://github.com/firecracker-microvm/firecracker/releases/tag/v1.16.2"
      },

    { "jailer", "CVE-2026-1386",
      "who can write to a jail's directories can overwrite the host's files",
      { { 0, 0, 0 } }, { { 1, 13, 2 } }, false,
      "they are root's, in a mount namespace of each machine's own",
      "https://www.cve.org/CVERecord?id=CVE-2026-1386" },

    { "jailer", "CVE-2026-1386",
      "who can write to a jail's directories can overwrite the host's files",
      { { 1, 14, 0 } }, { { 1, 14, 1 } }, false,
      "they are root's, in a mount namespace of each machine's own",
      "https://www.cve.org/CVERecord?id=CVE-2026-1386" },

    { "qemu", "CVE-2023-6693",
      "a guest can overflow a buffer of virtio-net",
      { { 5, 1, 0 } }, { { 7, 2, 9 } }, false,
      "only with hash reports, which sandboxd doesn't offer to guests",
      "https://security-tracker.debian.org/tracker/CVE-2023-6693" },

    { "qemu", "CVE-2023-6693",
      "a guest can overflow a buffer of virtio-net",
      { { 8, 0, 0 } }, { { 8, 2, 1 } }, false,
      "only with hash reports, which sandboxd doesn't offer to guests",
      "https://security-tracker.debian.org/tracker/CVE-2023-6693" },

    { "crun", "CVE-2022-27650",
      "what runs in a container inherits capabilities",
      { { 0, 0, 0 } }, { { 1, 4, 4 } }, true,
      "containers are started by it",
      "https://security-tracker.debian.org/tracker/CVE-2022-27650" },

    { "crun", "CVE-2025-24965",
      "an image for crun's krun handler can write to the host's files",
      { { 0, 0, 0 } }, { { 1, 20, 0 } }, false,
      "sandboxd uses no handler",
      "https://security-tracker.debian.org/tracker/CVE-2025-24965" },

    { "crun", "CVE-2026-84042",
      "a container started by krun with passt can run its code as root",
      { { 1, 29, 0 } }, { { 1, 30, 0 } }, false,
      "sandboxd uses no handler",
      "https://github.com/containers/crun/releases/tag/1.30" },

    { "crun", "CVE-2026-88264",
      "an image's /dev/console can make a file on the host",
      { { 0, 0, 0 } }, { { 1, 30, 0 } }, false,
      "containers have a /dev of their own, and no console",
      "https://github.com/containers/crun/releases/tag/1.30" },

    { "crun", "CVE-2026-88265",
      "an image's /dev/null can lead to a file of the host",
      { { 0, 0, 0 } }, { { 1, 30, 0 } }, false,
      "containers have a /dev of their own",
      "https://github.com/containers/crun/releases/tag/1.30" },
};

#define ADVISORIES  (sizeof(advisories) / sizeof(advisories[0]))


const advisory *
advisory_next(const advisory *a, const char *program, const version *v)
{
    for (a = a == NULL ? advisories : a + 1; a < advisories + ADVISORIES; a++)
    {
        if (strcmp(a->program, program) == 0
            && version_compare(v, &a->from) >= 0
            && version_compare(v, &a->fixed) < 0)
        {
            return a;
        }
    }

    return NULL;
}
