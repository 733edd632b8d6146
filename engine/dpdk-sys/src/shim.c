/* One function for each inline one of DPDK's that Guideway calls. */

#define _GNU_SOURCE

#include "shim.h"

#include <stdio.h>
#include <string.h>

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
