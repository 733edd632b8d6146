/* What capsule sees of DPDK: its exported functions, and these, by the names that capsule calls, for the ones
 * that its headers define inline. */

#define _GNU_SOURCE /* rte_cpuset_t is the C library's cpu_set_t, which it hides otherwise */

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>

/* Flags by their names in DPDK 19.11, which are macros of macros now. */
#undef ETH_RSS_IP
#undef ETH_RSS_TCP
#undef ETH_RSS_UDP
#undef ETH_RSS_SCTP
#undef DEV_TX_OFFLOAD_MBUF_FAST_FREE
static const uint64_t ETH_RSS_IP = RTE_ETH_RSS_IP;
static const uint64_t ETH_RSS_TCP = RTE_ETH_RSS_TCP;
static const uint64_t ETH_RSS_UDP = RTE_ETH_RSS_UDP;
static const uint64_t ETH_RSS_SCTP = RTE_ETH_RSS_SCTP;
static const uint64_t DEV_TX_OFFLOAD_MBUF_FAST_FREE = RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE;

int _rte_errno(void);
struct rte_mbuf *_rte_pktmbuf_alloc(struct rte_mempool *pool);
int _rte_pktmbuf_alloc_bulk(struct rte_mempool *pool, struct rte_mbuf **mbufs, unsigned int count);
void _rte_pktmbuf_free(struct rte_mbuf *mbuf);
void _rte_mempool_put_bulk(struct rte_mempool *pool, void *const *objects, unsigned int count);
uint16_t _rte_eth_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t count);
uint16_t _rte_eth_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t count);
