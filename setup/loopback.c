/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "setup/cni.h"

static void put_address(struct ifreq *r, uint32_t address)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(address) };

	memcpy(&r->ifr_addr, &in, sizeof(in));
}

int loopback_raise(const char *netns, uint32_t address, struct k3_err *e)
{
	K3_AUTO_FD int ns = open(netns, O_RDONLY | O_CLOEXEC);

	if (ns < 0)
		return k3_fail_sys(e, errno, "cannot open network namespace %s", netns);
	if (setns(ns, CLONE_NEWNET))
		return k3_fail_sys(e, errno, "cannot enter network namespace %s", netns);
	K3_AUTO_FD int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq r = { .ifr_name = "lo" };

	if (fd < 0)
		return 0;
	if (!ioctl(fd, SIOCGIFFLAGS, &r)) {
		r.ifr_flags |= IFF_UP;
		(void)ioctl(fd, SIOCSIFFLAGS, &r);
	}
	if (!address)
		return 0;
	/* a second address of lo, by the label that makes it one (netdevice(7)) */
	r = (struct ifreq){ .ifr_name = "lo:0" };
	put_address(&r, address);
	if (!ioctl(fd, SIOCSIFADDR, &r)) {
		put_address(&r, UINT32_MAX);
		(void)ioctl(fd, SIOCSIFNETMASK, &r);
	}
	return 0;
}
