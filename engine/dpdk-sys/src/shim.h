/* Declarations of DPDK that Rust sees: its exported functions, and these for the ones that its headers define inline. */

#include <rte_config.h>

#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_hash.h>
#include <rte_lcore.h>
#include <rte_log.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>

/* Flags that DPDK states as macros of macros. */
static const uint64_t guideway_rss_flows = RTE_ETH_RSS_IP | RTE_ETH_RSS_TCP | RTE_ETH_RSS_UDP;
static const uint64_t guideway_rx_vlan_filter = RTE_ETH_RX_OFFLOAD_VLAN_FILTER;
static const uint64_t guideway_tx_udp_checksum = RTE_ETH_TX_OFFLOAD_UDP_CKSUM;
static const uint64_t guideway_mbuf_udp6_checksum = RTE_MBUF_F_TX_IPV6 | RTE_MBUF_F_TX_UDP_CKSUM;

/* rte_errno is a thread-local word behind a macro. */
int guideway_errno(void);

uint16_t guideway_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t count);
uint16_t guideway_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t count);

struct rte_mbuf *guideway_mbuf_alloc(struct rte_mempool *pool);
void guideway_mbuf_free(struct rte_mbuf *mbuf);
/* Says where the headers end, which is a set of bit fields. */
void guideway_mbuf_header_lengths(struct rte_mbuf *mbuf, uint16_t link, uint16_t ip);

/* Makes DPDK log to memory of our own, for good; with echo, to standard error besides. Returns 0, or -1 without
 * memory. */
int guideway_log_open(int echo);
/* Copies the first warning or error since the last call to text, which holds len bytes, and forgets it. */
void guideway_log_take(char *text, size_t len);
