//! The pipeline from outside: what becomes of each packet, and that deciding it allocates nothing.

mod access_lists;
mod admission;
mod appliance;
mod fragments;
mod full_table;
mod networks;
mod own_packets;
mod packet_table;
mod plain_way;
mod zero_allocations;
