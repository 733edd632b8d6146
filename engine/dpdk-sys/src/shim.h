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
#include <rte_version.h>

#include <stddef.h>

/* Offsets of an mbuf's fields: newer versions of DPDK keep some of them in unions without a name, in which a binding cannot
 * find them by theirs. */
enum guideway_mbuf_offset {
	guideway_mbuf_buf_addr = offsetof(struct rte_mbuf, buf_addr),
	guideway_mbuf_data_off = offsetof(struct rte_mbuf, data_off),
	guideway_mbuf_nb_segs = offsetof(struct rte_mbuf, nb_segs),
	guideway_mbuf_ol_flags = offsetof(struct rte_mbuf, ol_flags),
	guideway_mbuf_pkt_len = offsetof(struct rte_mbuf, pkt_len),
	guideway_mbuf_data_len = offsetof(struct rte_mbuf, data_len),
	guideway_mbuf_buf_len = offsetof(struct rte_mbuf, buf_len),
	guideway_mbuf_pool = offsetof(struct rte_mbuf, pool),
	guideway_mbuf_next = offsetof(struct rte_mbuf, next),
	guideway_mbuf_vlan_tci = offsetof(struct rte_mbuf, vlan_tci),
};

/* Flags that DPDK states as macros of macros. */
static const uint64_t guideway_rss_ipv4 = RTE_ETH_RSS_IPV4;
static const uint64_t guideway_rss_ipv4_frag = RTE_ETH_RSS_FRAG_IPV4;
static const uint64_t guideway_rss_ipv4_tcp = RTE_ETH_RSS_NONFRAG_IPV4_TCP;
static const uint64_t guideway_rss_ipv4_udp = RTE_ETH_RSS_NONFRAG_IPV4_UDP;
static const uint64_t guideway_rss_ipv4_sctp = RTE_ETH_RSS_NONFRAG_IPV4_SCTP;
static const uint64_t guideway_rss_ipv4_other = RTE_ETH_RSS_NONFRAG_IPV4_OTHER;
static const uint64_t guideway_rss_ipv6 = RTE_ETH_RSS_IPV6;
static const uint64_t guideway_rss_ipv6_frag = RTE_ETH_RSS_FRAG_IPV6;
static const uint64_t guideway_rss_ipv6_tcp = RTE_ETH_RSS_NONFRAG_IPV6_TCP;
static const uint64_t guideway_rss_ipv6_udp = RTE_ETH_RSS_NONFRAG_IPV6_UDP;
static const uint64_t guideway_rss_ipv6_sctp = RTE_ETH_RSS_NONFRAG_IPV6_SCTP;
static const uint64_t guideway_rss_ipv6_other = RTE_ETH_RSS_NONFRAG_IPV6_OTHER;
static const uint64_t guideway_rss_ipv6_ex = RTE_ETH_RSS_IPV6_EX;
static const uint64_t guideway_rss_ipv6_tcp_ex = RTE_ETH_RSS_IPV6_TCP_EX;
static const uint64_t guideway_rss_ipv6_udp_ex = RTE_ETH_RSS_IPV6_UDP_EX;
static const uint64_t guideway_rss_esp = RTE_ETH_RSS_ESP;
static const uint64_t guideway_rss_ah = RTE_ETH_RSS_AH;
static const uint64_t guideway_rss_l2tpv3 = RTE_ETH_RSS_L2TPV3;
static const uint64_t guideway_rx_vlan_filter = RTE_ETH_RX_OFFLOAD_VLAN_FILTER;
static const uint64_t guideway_tx_udp_checksum = RTE_ETH_TX_OFFLOAD_UDP_CKSUM;
static const uint32_t guideway_dev_signals_link = RTE_ETH_DEV_INTR_LSC;
static const uint32_t guideway_dev_signals_removal = RTE_ETH_DEV_INTR_RMV;
static const uint64_t guideway_mbuf_vlan_stripped = RTE_MBUF_F_RX_VLAN_STRIPPED;
static const uint64_t guideway_mbuf_udp6_checksum = RTE_MBUF_F_TX_IPV6 | RTE_MBUF_F_TX_UDP_CKSUM;

/* rte_errno is a thread-local word behind a macro. */
int guideway_errno(void);

uint16_t guideway_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t count);
uint16_t guideway_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t count);

struct rte_mbuf *guideway_mbuf_alloc(struct rte_mempool *pool);
void guideway_mbuf_free(struct rte_mbuf *mbuf);
/* Says where the headers end, which is a set of bit fields. */
void guideway_mbuf_header_lengths(struct rte_mbuf *mbuf, uint16_t link, uint16_t ip);

/* Copies the bytes of all segments into the first, and frees the others. Returns 0, or -1 where they do not fit; then
 * nothing is changed. */
int guideway_mbuf_linearize(struct rte_mbuf *mbuf);

/* State of a port's link; its fields are in a union without a name where DPDK is new. Returns 0, or a negative error
 * number. */
int guideway_link(uint16_t port, uint8_t *up, uint32_t *speed_mbps);

/* Writes the name of the kernel's network interface with this index to name, which holds 16 bytes. Returns 0, or -1 where
 * there is none. */
int guideway_interface_name(unsigned int index, char *name);
/* Index of the kernel's network interface with this name; 0 where there is none. */
unsigned int guideway_interface_index(const char *name);
/* Returns 1 if the kernel's network interface of this name is up and has a carrier, else 0. */
int guideway_interface_runs(const char *name);
/* Writes the descriptors of this process's open packet sockets on the kernel's network interface with this index, or where
 * index is 0 of its AF_XDP sockets, to sockets, which has room for so many. Returns their number. */
int guideway_sockets(unsigned int index, int *sockets, int room);
/* Frames that the kernel has dropped since the last call, as a packet socket's ring was full. */
uint64_t guideway_packet_socket_drops(int socket);
/* Frames that the kernel has dropped since an AF_XDP socket was opened, as its ring was full; the socket counts others
 * apart, which its driver tells. */
uint64_t guideway_xdp_socket_drops(int socket);
/* True once the interface that a packet or AF_XDP socket was bound to has left the namespace; of AF_XDP it is told once. */
int guideway_socket_is_cut_off(int socket);
/* Makes DPDK log to memory of our own, for good; with echo, to standard error besides. Returns 0, or -1 without
 * memory. */
int guideway_log_open(int echo);
/* Copies the warnings and errors since the last call to text, which holds len bytes, in a line each, and forgets them. */
void guideway_log_take(char *text, size_t len);
