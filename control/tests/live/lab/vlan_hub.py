#!/usr/bin/python3
"""Joins access ports, whose frames have no tag, with a trunk, whose frames have the tag of their VLAN.

    vlan_hub.py TRUNK VLAN=DEVICE,DEVICE...

Each frame goes to all other devices of its VLAN. A kernel without 802.1Q devices carries tagged frames all the same; it takes
the tag off what a packet socket hears, and tells it beside the frame.
"""

import selectors
import socket
import struct
import sys

ETH_P_ALL = 3
SOL_PACKET, PACKET_AUXDATA = 263, 8
PACKET_OUTGOING = 4
VLAN_VALID = 1 << 4
AUXDATA = struct.Struct("=IIIHHHH")


def opened(device):
    link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.htons(ETH_P_ALL))
    link.bind((device, 0))
    link.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
    return link


def received(link):
    """The next frame without its tag, and the VLAN that the tag named; neither where nothing has come."""
    while True:
        try:
            frame, beside, _, address = link.recvmsg(65_536, socket.CMSG_SPACE(AUXDATA.size))
        except BlockingIOError:
            return None, None
        if address[2] != PACKET_OUTGOING:
            break
    for level, kind, data in beside:
        if (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
            status, _, _, _, _, tag, _ = AUXDATA.unpack(data[: AUXDATA.size])
            if status & VLAN_VALID:
                return frame, tag & 0x0FFF
    return frame, None


def tagged(frame, vlan):
    return frame[:12] + struct.pack("!HH", 0x8100, vlan) + frame[12:]


def main():
    trunk = opened(sys.argv[1])
    vlans = {}
    for argument in sys.argv[2:]:
        vlan, devices = argument.split("=")
        vlans[int(vlan)] = [opened(device) for device in devices.split(",")]
    vlan_of = {link: vlan for vlan, links in vlans.items() for link in links}
    selector = selectors.DefaultSelector()
    for link in [trunk, *vlan_of]:
        selector.register(link, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            link = key.fileobj
            while True:
                frame, tag = received(link)
                if frame is None:
                    break
                vlan = vlan_of.get(link, tag)
                for other in vlans.get(vlan, []):
                    if other is not link:
                        other.send(frame)
                if link is not trunk:
                    trunk.send(tagged(frame, vlan))


main()
