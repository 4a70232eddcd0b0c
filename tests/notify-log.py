#!/usr/bin/python3
"""notify-log.py SOCKET FILE: what a service manager would be told over $NOTIFY_SOCKET, one line each."""
import socket
import sys

server = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
server.bind(sys.argv[1])
with open(sys.argv[2], "w", encoding="utf-8") as out:
    print("listening", file=out, flush=True)
    while True:
        for line in server.recv(1 << 16).decode().splitlines():
            print(line, file=out, flush=True)
