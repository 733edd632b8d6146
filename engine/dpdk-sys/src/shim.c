/* One function for each inline one of DPDK's that Guideway calls. */

#define _GNU_SOURCE

#include "shim.h"

#include <errno.h>
#include <linux/if_packet.h>
#include <linux/if_xdp.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

int guideway_errno(void) {
	return rte_errno;
}

uint16_t guideway_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t count) {
	return rte_eth_rx_burst(port, queue, mbufs, count);
}

uint16_t guideway_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t count) {
	return rte_eth_tx_burst(port, queue, mbufs, count);
}

struct rte_mbuf *guideway_mbuf_alloc(struct rte_mempool *pool) {
	return rte_pktmbuf_alloc(pool);
}

void guideway_mbuf_free(struct rte_mbuf *mbuf) {
	rte_pktmbuf_free(mbuf);
}

void guideway_mbuf_header_lengths(struct rte_mbuf *mbuf, uint16_t link, uint16_t ip) {
	mbuf->l2_len = link;
	mbuf->l3_len = ip;
}

int guideway_mbuf_linearize(struct rte_mbuf *mbuf) {
	return rte_pktmbuf_linearize(mbuf);
}

int guideway_interface_name(unsigned int index, char *name) {
	return if_indextoname(index, name) == NULL ? -1 : 0;
}

unsigned int guideway_interface_index(const char *name) {
	return if_nametoindex(name);
}

int guideway_interface_runs(const char *name) {
	struct ifreq request = { 0 };
	int asked, fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return 0;
	strncpy(request.ifr_name, name, IFNAMSIZ - 1);
	asked = ioctl(fd, SIOCGIFFLAGS, &request);
	close(fd);
	return asked == 0 && (request.ifr_flags & IFF_UP) && (request.ifr_flags & IFF_RUNNING);
}

/* Descriptors that are looked at: those of devices are among the first. */
#define LOOKED_AT 4096

int guideway_sockets(unsigned int index, int *sockets, int room) {
	int fd, found = 0;

	for (fd = 3; fd < LOOKED_AT && found < room; fd++) {
		struct sockaddr_ll address = { 0 };
		socklen_t length = sizeof(int);
		int domain;

		if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) != 0)
			continue;
		if (index == 0 ? domain != AF_XDP : domain != AF_PACKET)
			continue;
		length = sizeof(address);
		if (index != 0 && (getsockname(fd, (struct sockaddr *)&address, &length) != 0
				|| (unsigned int)address.sll_ifindex != index))
			continue;
		sockets[found++] = fd;
	}
	return found;
}

uint64_t guideway_packet_socket_drops(int socket) {
	struct tpacket_stats stats = { 0 };
	socklen_t length = sizeof(stats);

	return getsockopt(socket, SOL_PACKET, PACKET_STATISTICS, &stats, &length) == 0 ? stats.tp_drops : 0;
}

uint64_t guideway_xdp_socket_drops(int socket) {
	struct xdp_statistics stats = { 0 };
	socklen_t length = sizeof(stats);

	return getsockopt(socket, SOL_XDP, XDP_STATISTICS, &stats, &length) == 0 ? stats.rx_ring_full : 0;
}

int guideway_socket_is_cut_off(int socket) {
	struct sockaddr_ll address = { 0 };
	socklen_t length = sizeof(int);
	int domain = 0, error = 0;

	if (getsockopt(socket, SOL_SOCKET, SO_DOMAIN, &domain, &length) != 0)
		return 0;
	if (domain == AF_XDP) {
		/* The kernel notes it when the interface is unregistered, and at no other time. */
		length = sizeof(error);
		return getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &length) == 0 && error == ENETDOWN;
	}
	length = sizeof(address);
	return domain == AF_PACKET && getsockname(socket, (struct sockaddr *)&address, &length) == 0
		&& address.sll_ifindex == -1;
}

int guideway_link(uint16_t port, uint8_t *up, uint32_t *speed_mbps) {
	struct rte_eth_link link = { 0 };
	int result = rte_eth_link_get_nowait(port, &link);

	*up = link.link_status == RTE_ETH_LINK_UP;
	*speed_mbps = link.link_speed;
	return result;
}

/* Warnings and errors since they were last taken, each in a line of its own; the first of them, where they are too many.
 * The stream is never closed, because any thread may be writing to it, and its lock guards the text. */
static FILE *log_stream;
/* Of each thread its own: one resets a device while another asks something of the next. */
static __thread char log_kept[16384];
static __thread size_t log_len;
static int log_echo;

static ssize_t log_keep(void *cookie, const char *text, size_t len) {
	(void)cookie;
	/* With a newline and a NUL behind it. */
	if (len > 1 && log_len + len + 2 <= sizeof(log_kept) && rte_log_cur_msg_loglevel() <= (int)RTE_LOG_WARNING) {
		memcpy(log_kept + log_len, text, len);
		log_len += len;
		log_kept[log_len++] = '\n';
	}
	if (log_echo)
		fwrite(text, 1, len, stderr);
	return (ssize_t)len;
}

int guideway_log_open(int echo) {
	cookie_io_functions_t functions = { .write = log_keep };

	log_echo = echo;
	log_stream = fopencookie(NULL, "w", functions);
	if (log_stream == NULL)
		return -1;
	return rte_openlog_stream(log_stream);
}

void guideway_log_take(char *text, size_t len) {
	text[0] = '\0';
	if (log_stream == NULL)
		return;
	flockfile(log_stream);
	snprintf(text, len, "%.*s", (int)log_len, log_kept);
	log_len = 0;
	funlockfile(log_stream);
}
