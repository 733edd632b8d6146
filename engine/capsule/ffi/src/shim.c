/* DPDK's inline functions as functions, and the two whose meaning has changed since DPDK 19.11. */

#include "shim.h"

#include <string.h>

int _rte_errno(void) {
	return rte_errno;
}

struct rte_mbuf *_rte_pktmbuf_alloc(struct rte_mempool *pool) {
	return rte_pktmbuf_alloc(pool);
}

int _rte_pktmbuf_alloc_bulk(struct rte_mempool *pool, struct rte_mbuf **mbufs, unsigned int count) {
	return rte_pktmbuf_alloc_bulk(pool, mbufs, count);
}

void _rte_pktmbuf_free(struct rte_mbuf *mbuf) {
	rte_pktmbuf_free(mbuf);
}

void _rte_mempool_put_bulk(struct rte_mempool *pool, void *const *objects, unsigned int count) {
	rte_mempool_put_bulk(pool, objects, count);
}

uint16_t _rte_eth_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t count) {
	return rte_eth_rx_burst(port, queue, mbufs, count);
}

uint16_t _rte_eth_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t count) {
	return rte_eth_tx_burst(port, queue, mbufs, count);
}

/* rte_eal_init by the names that its arguments have since DPDK 20.11. */
int capsule_eal_init(int argc, char **argv) {
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--master-lcore") == 0)
			argv[i] = "--main-lcore";
		else if (strcmp(argv[i], "--pci-whitelist") == 0)
			argv[i] = "--allow";
	}
	return rte_eal_init(argc, argv);
}

/* rte_thread_set_affinity, which each of capsule's threads calls first. Since DPDK 20.11 a thread that EAL
 * did not make can register; mempools keep no cache for one that has not. */
int capsule_thread_set_affinity(rte_cpuset_t *cores) {
	if (rte_lcore_id() == LCORE_ID_ANY && rte_thread_register() < 0)
		return -rte_errno;
	return rte_thread_set_affinity(cores);
}
