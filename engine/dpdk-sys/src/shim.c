/* One function for each inline one of DPDK's that Guideway calls. */

#include "shim.h"

#include <stdio.h>
#include <stdlib.h>

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

static FILE *log_stream;
static char *log_messages;
static size_t log_len;

int guideway_log_begin(void) {
	log_stream = open_memstream(&log_messages, &log_len);
	if (log_stream == NULL)
		return -1;
	return rte_openlog_stream(log_stream);
}

char *guideway_log_end(void) {
	rte_openlog_stream(NULL);
	if (log_stream == NULL)
		return NULL;
	fclose(log_stream);
	log_stream = NULL;
	return log_messages;
}

void guideway_log_free(char *messages) {
	free(messages);
}
