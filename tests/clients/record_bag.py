#!/usr/bin/python3
"""Records a ROS bag as a robot would, and checks bags.

record_bag.py record BAG COUNT [JOURNAL]   COUNT messages; with JOURNAL it goes on until it
                                           fails, noting every write(2) and fsync(2)
record_bag.py read BAG COUNT               all messages are those that record writes
record_bag.py find BAG JOURNAL             the bag's bytes are what the first so many writes
                                           make, no fewer than had been fsynced

A write may be cut at a page boundary of the file: rosbag writes through a buffer, and the
kernel hands a write to a filesystem in pages.
"""
import hashlib
import io
import os
import struct
import sys

import genpy
import rosbag
from std_msgs.msg import Float64MultiArray, String, UInt8MultiArray

PAGE = 4096
SYNC_EVERY = 50  # messages
WRITE = struct.Struct('<cQI')  # b'W' or b'S' (fsync returned), offset, length


def message(i):
    """The i-th message: topic, message, time."""
    stamp = genpy.Time(1700000000 + i // 100, i % 100 * 10000000)
    noise = hashlib.sha256(str(i).encode()).digest()
    if i % 10 == 9:
        return '/camera', UInt8MultiArray(data=noise * 640), stamp
    if i % 10 == 5:
        return '/log', String(data='message %d %s' % (i, noise.hex())), stamp
    return '/imu', Float64MultiArray(data=[i + b / 256 for b in noise[:9]]), stamp


class Journaled(io.FileIO):
    """A file that notes each write before it is made."""

    def __init__(self, path, journal):
        super().__init__(path, 'w+')
        self.journal = journal

    def write(self, data):
        data = bytes(data)
        self.journal.write(WRITE.pack(b'W', self.tell(), len(data)) + data)
        return super().write(data)


def record(path, count, journal_path=None):
    if journal_path is None:
        with rosbag.Bag(path, 'w') as bag:
            for i in range(count):
                bag.write(*message(i))
        return
    journal = open(journal_path, 'wb', buffering=0)
    file = io.BufferedRandom(Journaled(path, journal))
    bag = rosbag.Bag(file, 'w', chunk_threshold=256 * 1024)
    for i in range(count):
        bag.write(*message(i))
        if i % SYNC_EVERY == 0:
            file.flush()
            os.fsync(file.fileno())
            journal.write(WRITE.pack(b'S', 0, 0))


def read(path, count):
    with rosbag.Bag(path) as bag:
        i = 0
        for topic, got, stamp in bag.read_messages():
            want = message(i)
            if (topic, stamp, type(got.data)(want[1].data)) != (want[0], want[2], got.data):
                sys.exit('message %d differs' % i)
            i += 1
    if i != count:
        sys.exit('%d messages, not %d' % (i, count))


def journal_steps(path):
    """(offset, bytes) of each part of a write that is atomic, and (None, None) of an fsync."""
    journal = open(path, 'rb').read()
    at = 0
    while at + WRITE.size <= len(journal):
        kind, offset, n = WRITE.unpack_from(journal, at)
        at += WRITE.size
        if kind == b'S':
            yield None, None
            continue
        data = journal[at:at + n]
        at += n
        while data:
            part = PAGE - offset % PAGE
            yield offset, data[:part]
            offset += len(data[:part])
            data = data[part:]


def find(path, journal_path):
    have = open(path, 'rb').read()
    steps = list(journal_steps(journal_path))
    synced = max((i + 1 for i, step in enumerate(steps) if step[0] is None), default=0)
    model = bytearray()
    for i in range(len(steps) + 1):
        if i >= synced and model == have:
            print('%d bytes: %d of %d steps, %d synced' % (len(have), i, len(steps), synced))
            return
        if i == len(steps):
            break
        offset, data = steps[i]
        if offset is not None:
            model.extend(bytes(max(0, offset - len(model))))
            model[offset:offset + len(data)] = data
    sys.exit('%d bytes, which no count of its %d steps makes, %d of them synced'
             % (len(have), len(steps), synced))


def main():
    verb, arguments = sys.argv[1], sys.argv[2:]
    if verb == 'record':
        record(arguments[0], int(arguments[1]), *arguments[2:])
    elif verb == 'read':
        read(arguments[0], int(arguments[1]))
    else:
        find(*arguments)


main()
