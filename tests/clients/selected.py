#!/usr/bin/env python3
"""Compares what views of a mount give with what a plain list says, for random data and random
selectors. It knows the words of docs/VIEWS.md and docs/QUEUES.md, and nothing of the program.

usage: selected.py FOLDER ROUNDS SEED [CLOCK] (and see mounted.py)

FOLDER is an empty one in the mount, which is mounted anew at times. CLOCK is a file from which
the daemon takes its clock's offset (libfaketime): then it is set forward and back meanwhile."""
import base64
import bisect
import calendar
import errno
import json
import os
import random
import re
import sys
import time

from mounted import MNT, mount, ropectl, unmount

NS = 1000000000
UNITS = {'': 1, 'K': 1 << 10, 'M': 1 << 20, 'G': 1 << 30}
CLOCK_SLACK_NS = 60 * NS  # how long a machine may stop between two calls


class Refused(Exception):
    """What a selector should give instead of bytes."""

    def __init__(self, number):
        super().__init__(errno.errorcode[number])
        self.errno = number


# --- the mount, as programs see it ---

def read_all(path, flags=0):
    """All bytes there are; with O_NONBLOCK until a read would have to wait."""
    fd = os.open(path, os.O_RDONLY | flags)
    out = []
    try:
        while piece := os.read(fd, random.choice((777, 1 << 16, 1 << 20))):
            out.append(piece)
    except BlockingIOError:
        pass
    finally:
        os.close(fd)
    return b''.join(out)


class Events:
    """What .ropefs/events has said since the last question."""

    def __init__(self):
        self.fd = os.open(MNT + '/.ropefs/events', os.O_RDONLY | os.O_NONBLOCK)

    def new(self):
        out = b''
        try:
            while piece := os.read(self.fd, 1 << 20):
                out += piece
        except BlockingIOError:
            pass
        return [json.loads(line) for line in out.splitlines()]


def parse_time(text):
    whole, fraction = re.fullmatch(r'(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?Z',
                                   text).groups()
    seconds = calendar.timegm(time.strptime(whole, '%Y-%m-%dT%H:%M:%S'))
    return seconds * NS + int((fraction or '0').ljust(9, '0'))


# --- the clock of the daemon ---

class Clock:
    def __init__(self, path):
        self.path = path
        self.offset_s = 0

    def set(self, offset_s):
        with open(self.path + '.new', 'w') as f:
            f.write('%+d\n' % offset_s)
        os.rename(self.path + '.new', self.path)
        self.offset_s = offset_s

    def now(self):
        return time.time_ns() + self.offset_s * NS


# --- what should be there ---

class Queue:
    """A list of records, and what each selector takes of it."""

    def __init__(self, path, framing, clock):
        self.path = path
        self.framing = framing
        self.clock = clock
        self.records = []  # all ever written
        self.wall = []     # (not before, not after) of each, by the daemon's clock as it was set
        self.times = []    # as the queue tells them
        self.first = 0
        self.cursors = {}

    def next(self):
        return len(self.records)

    def payload(self):
        if self.framing == 'line':
            return random.choice((b'%d' % random.getrandbits(40), 'grün %d'.encode() % self.next(),
                                  b'', b'\xff\x00bad', b'"\\\t/')) + b'\n'
        if self.framing == 'write':
            return random.randbytes(random.choice((1, 3, 100, random.randrange(1, 3000))))
        return random.randbytes(7)

    def append(self, count):
        fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        while count > 0:
            group = 1 if self.framing == 'write' else random.randrange(1, 20)
            new = [self.payload() for _ in range(group)]
            data = b''.join(new)
            began = self.clock.now()
            assert os.write(fd, data) == len(data)
            self.records += new
            self.wall += [(began - CLOCK_SLACK_NS, self.clock.now() + CLOCK_SLACK_NS)] * group
            count -= group
        os.close(fd)

    def learn_times(self):
        """Ids and payloads as as=json has them are those written; so are the true times."""
        self.times += [0] * (self.next() - len(self.times))
        expected = self.first
        for line in read_all(self.path + '@as=json').splitlines():
            record = json.loads(line)
            assert record['id'] == expected, (record, expected)
            self.check_record(record)
            expected += 1
        assert expected == self.next(), 'as=json ends at %d of %d' % (expected, self.next())
        assert self.times[self.first:] == sorted(self.times[self.first:])

    def check_record(self, record):
        i = record['id']
        payload = self.records[i][:-1] if self.framing == 'line' else self.records[i]
        try:
            text = payload.decode()
            assert record['payload'] == text, (record, text)
        except UnicodeDecodeError:
            assert base64.b64decode(record['payload_base64']) == payload, record
        when = parse_time(record['time'])
        assert self.times[i] in (0, when), 'the time of record %d has changed' % i
        self.times[i] = when
        true = parse_time(record.get('true_time', record['time']))
        low, high = self.wall[i]
        assert low <= true <= high, 'record %d: true time %d, not %d..%d' % (i, true, low, high)
        assert when >= true or when - true > -NS // 50, record

    # Selectors: dictionaries of word to value; ranges are pairs of (text, meaning).

    def select(self, sel, now):
        """Returns ids, and whether some that were asked for are gone."""
        low, high, asked = 0, self.next(), False
        follow = 'follow' in sel
        gone = self.first
        if 'numbers' in sel:
            (_, low, high), asked = sel['numbers'], True
            bare = low is None and high is None
            has_end = high is not None
            low = self.place(low, 0)
            high = self.place(high, self.next())
            if high > self.next() or (low > high and not follow):
                raise Refused(errno.ERANGE)
            if has_end and low < high <= gone:
                raise Refused(errno.ERANGE)
            asked = not bare
        if 'time' in sel:
            _, since, until = sel['time']
            since, until = self.moment(since, now), self.moment(until, now)
            if since is not None and until is not None and since > until:
                raise Refused(errno.ERANGE)
            left = self.times[gone:]
            if until is not None:
                end = gone + bisect.bisect_left(left, until)
                if gone and end == gone:
                    raise Refused(errno.ERANGE)
                high = min(high, end)
                asked = True
            if since is not None:
                begin = gone + bisect.bisect_left(left, since)
                if begin == gone and gone and (not left or since < left[0]):
                    begin = 0  # nobody knows how many more there were
                low = max(low, begin)
                asked = True
        if 'cursor' in sel and sel['cursor'] in self.cursors:
            low, asked = max(low, self.cursors[sel['cursor']]), True
        if 'last' in sel:
            low, asked = max(low, high - sel['last']), True
        partly = asked and low < min(high, gone)
        low = max(low, gone)
        return range(low, max(low, high), sel.get('every', 1)), partly

    def place(self, n, default):
        if n is None:
            return default
        return n if n >= 0 else max(0, self.next() + n)

    @staticmethod
    def moment(when, now):
        if isinstance(when, tuple):
            return now - when[0]
        return when

    def text(self, i, how):
        if how == 'hex':
            return self.records[i].hex().encode() + b'\n'
        return self.records[i]

    def check_json(self, out, ids):
        lines = out.splitlines()
        assert len(lines) == len(ids), '%d objects, not %d' % (len(lines), len(ids))
        for i, line in zip(ids, lines):
            record = json.loads(line)
            assert record['id'] == i, (record['id'], i)
            self.check_record(record)


# --- selectors at random ---

def number(n):
    """n in decimal, at times with a unit."""
    for unit in 'MK':
        if n and n % UNITS[unit] == 0 and random.random() < 0.5:
            return '%d%s' % (n // UNITS[unit], unit)
    return str(n)


def random_place(count, first):
    """(text, number or None); negative ones count from the end."""
    kind = random.randrange(8)
    if kind == 0:
        return '', None
    if kind == 1:
        n = random.choice((1, 5, 300, count, count + 9, 1024))
        return '-' + number(n), -n
    if kind == 2:
        n = random.choice((0, first, max(first - 1, 0), first + 1, count, count + 1, 1024))
        return number(n), n
    n = random.randrange(count + 1)
    return number(n), n


def random_range(count, first):
    a, b = random_place(count, first), random_place(count, first)
    if a[1] is not None and b[1] is not None and 0 <= b[1] < a[1] and random.random() < 0.9:
        a, b = b, a
    return '%s..%s' % (a[0], b[0]), a[1], b[1]


def time_text(ns):
    """A time in one of the ways it can be written, and what that means exactly."""
    seconds, rest = divmod(ns, NS)
    kind = random.randrange(5)
    digits = random.choice((0, 3, 6, 9))
    cut = rest // 10 ** (9 - digits) * 10 ** (9 - digits)
    fraction = ('.%09d' % rest)[:digits + 1] if digits else ''
    if kind == 0:
        return '%d%s' % (seconds, fraction), seconds * NS + cut
    if kind == 1:
        return time.strftime('%Y-%m-%d', time.gmtime(seconds)), seconds // 86400 * 86400 * NS
    if kind == 2:
        return time.strftime('%Y-%m-%dT%H:%M', time.gmtime(seconds)), seconds // 60 * 60 * NS
    east = random.choice((0, 0, 60, -210, 845))
    zone = random.choice(('', 'Z')) if not east else '%s%02d:%02d' % (
        '-+'[east > 0], abs(east) // 60, abs(east) % 60)
    shown = time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds + 60 * east))
    return shown + fraction + zone, seconds * NS + cut


def random_time(q):
    if random.random() < 0.2:
        n, unit = random.choice((('2', 'h'), ('3', 'w'), ('1', 'd'), ('90', 'm'), ('7200', 's')))
        return '-' + n + unit, (int(n) * {'s': 1, 'm': 60, 'h': 3600, 'd': 86400,
                                          'w': 604800}[unit] * NS,)
    if random.random() < 0.1:
        return time_text(random.choice((86400 * NS, 4102444800 * NS)))
    at = random.choice(q.times[random.choice((0, q.first)) % len(q.times):])
    return time_text(max(0, at + random.choice((0, 0, 1, -1, random.randrange(-NS, NS)))))


def random_selector(q):
    """(text, dictionary)."""
    sel, words = {}, []
    if random.random() < 0.5:
        sel['numbers'] = random_range(q.next(), q.first)
        words.append(random.choice(('records', 'lines')) + '=' + sel['numbers'][0])
    if random.random() < 0.4:
        a, b = (random_time(q) if random.random() < 0.7 else ('', None) for _ in 'ab')
        if random.random() < 0.3 and a[0]:
            sel['time'] = a[0], a[1], None
            words.append('since=' + a[0])
        else:
            sel['time'] = a[0], a[1], b[1]
            words.append('time=%s..%s' % (a[0], b[0]))
    if random.random() < 0.3:
        sel['last'] = random.choice((1, 10, 255, 256, 257, 1024, q.next(), q.next() + 5))
        words.append('last=' + number(sel['last']))
    if random.random() < 0.3:
        sel['every'] = random.choice((1, 2, 7, 255, 256, 1024, 10 ** 9))
        words.append('every=' + number(sel['every']))
    if random.random() < 0.2:
        sel['cursor'] = random.choice([*q.cursors, 'nobody'])
        words.append('cursor=' + sel['cursor'])
    if random.random() < 0.4:
        sel['as'] = random.choice(('raw', 'json', 'hex'))
        words.append('as=' + sel['as'])
    ended = sel.get('numbers', (0, 0, None))[2] is not None or (
        sel.get('time', (0, 0, None))[2] is not None)
    if not ended and (random.random() < 0.2 or not words):
        sel['follow'] = True
        words.append('follow')
    if not words:
        words.append('as=raw')
    random.shuffle(words)
    return ','.join(words), sel


def get(path, flags=0):
    """Bytes, or the number of the error."""
    try:
        return read_all(path, flags)
    except OSError as e:
        return e.errno


def expected(q, sel, now):
    """(ids, whether some are gone, None), or the number of an error as the last."""
    try:
        return (*q.select(sel, now), None)
    except Refused as e:
        return [], False, e.errno


def check_selector(q, events):
    text, sel = random_selector(q)
    path = q.path + '@' + text
    before = expected(q, sel, q.clock.now())
    got = get(path, os.O_NONBLOCK if 'follow' in sel else 0)
    ids, partly, wanted = expected(q, sel, q.clock.now())
    if before != (ids, partly, wanted):  # it counts back from now, which is between two records
        events.new()
        return
    said = events.new()
    if wanted:
        assert got == wanted, '%s: %r, not %s' % (path, got, errno.errorcode[wanted])
        assert any(e['event'] == 'view' for e in said), path + ': no event says why'
        return
    assert not isinstance(got, int), '%s: %s, not %d records from %d on' % (
        path, errno.errorcode[got], len(ids), ids.start)
    if sel.get('as') == 'json':
        q.check_json(got, ids)
    else:
        assert got == b''.join(q.text(i, sel.get('as')) for i in ids), (
            '%s: other than records %r' % (path, ids))
    says = any('trimmed' in e['text'] for e in said)
    assert says == partly, '%s: it %s that some are gone: %r' % (
        path, 'says' if says else 'does not say', said)
    if 'as' not in sel and sel.get('every', 1) == 1 and 'follow' not in sel:
        assert os.stat(path).st_size == len(got), path + ': its size'
        events.new()


# --- ordinary files ---

def check_file(path, data, events):
    """bytes=, stride= and lines= of a rope that holds data, against slices."""
    lines = data.splitlines(keepends=True)
    kind = random.choice(('bytes', 'stride', 'both', 'lines'))
    count = len(lines) if kind == 'lines' else len(data)
    text, a, b = random_range(count, 0)
    a = 0 if a is None else max(0, count + a) if a < 0 else a
    b = count if b is None else max(0, count + b) if b < 0 else b
    size = random.randrange(1, 50)
    step = size + random.choice((0, 1, 50, 5000))
    if kind == 'stride':
        text, a, b = 'stride=%d:%d' % (size, step), 0, count
    elif kind == 'both':
        text = 'bytes=%s,stride=%d:%d' % (text, size, step)
    else:
        text = '%s=%s' % (kind, text)
    got = get('%s@%s' % (path, text))
    events.new()
    if a > b or b > count:
        assert got == errno.ERANGE, '%s: %r' % (text, got)
        return
    part = b''.join(lines[a:b]) if kind == 'lines' else data[a:b]
    if kind in ('stride', 'both'):
        part = b''.join(part[i:i + size] for i in range(0, len(part), step))
    assert got == part, '%s: other bytes: %r' % (text, got if isinstance(got, int) else len(got))


BAD = ('records=1', 'records=x..', 'records=..5x', 'last=0', 'last=', 'last=-1', 'every=0',
       'time=1..2..3', 'time=5', 'since=', 'since=2026-02-30', 'since=12:00', 'since=-5y',
       'as=xml', 'cursor=', 'cursor=a=b', 'last=1,last=2', 'records=..,lines=..', 'last=1,add',
       'records=1..2,follow', 'time=..5,follow', 'records=..9223372036854775808', 'last=5,nothing',
       'every=2,', 'bytes=0..1,last=1')


def check_bad(q, events):
    text = random.choice(BAD)
    got = get(q.path + '@' + text, os.O_NONBLOCK)
    assert got == errno.EINVAL, '%s: %r' % (text, got)
    said = events.new()
    assert len(said) == 1 and said[0]['name'].endswith('@' + text), (text, said)


# --- what happens between rounds ---

def trim(q):
    """By hand, at a record or a time; or by the policy, in the background."""
    kind = random.randrange(3)
    if kind == 0:
        to = random.randrange(q.first, q.next())
        os.unlink('%s@records=..%d' % (q.path, to) if to > q.first else
                  '%s@records=%d..%d' % (q.path, to, to))
        q.first = max(q.first, to)
    elif kind == 1:
        at = random.choice(q.times[q.first:])
        to = q.first + bisect.bisect_left(q.times[q.first:], at)
        if to > q.first:
            os.unlink('%s@time=..%d.%09d' % (q.path, at // NS, at % NS))
        q.first = to
    elif q.next() - q.first > 600:
        retain(q)


def retain(q):
    """Its effect is seen in the plain file: what is left is the end of all that was written."""
    before = os.stat(q.path).st_size
    ropectl('policy', 'set', q.path, 'retain=%d records' % (q.next() - q.first - 513))
    end = time.monotonic() + 100
    while os.stat(q.path).st_size == before and time.monotonic() < end:
        time.sleep(0.02)
    ropectl('policy', 'unset', q.path, 'retain')
    left, bytes_left = q.next(), len(read_all(q.path))
    while bytes_left > 0:
        left -= 1
        bytes_left -= len(q.records[left])
    assert bytes_left == 0, 'a record was cut by retention'
    assert q.first < left <= q.first + 513, 'retention left records from %d on' % left
    q.first = left


def move_cursor(q):
    name, to = random.choice('abc'), random.randrange(q.next() + 1)
    ropectl('cursor', 'commit', q.path, name, str(to))
    q.cursors[name] = to


def mount_again(events):
    """What was written is in packs now."""
    os.close(events.fd)
    unmount()
    mount()
    return Events()


def step_clock(clock):
    if clock.path:
        clock.set(clock.offset_s + random.choice((-86400 * 3, -3600, -77, 77, 3600, 86400 * 5)))


def main():
    folder, rounds, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    clock = Clock(sys.argv[4] if len(sys.argv) > 4 else None)
    random.seed(seed)
    events = Events()
    queues = []
    for framing in ('line', 'write', 'length:7'):
        path = '%s/%s' % (folder, framing.replace(':', ''))
        os.mkdir(path)
        ropectl('policy', 'set', path, 'kind=queue', 'framing=' + framing)
        queues.append(Queue(path + '/q', framing, clock))
    data = b''.join(random.randbytes(random.randrange(60)).replace(b'\r', b'') + b'\n'
                    for _ in range(300))
    with open(folder + '/rope', 'wb') as f:
        f.write(data)
    for n in range(rounds):
        if n % 3 == 1:
            events = mount_again(events)
        for q in queues:
            step_clock(clock)
            q.append(random.choice((1, 30, 300, 700)) if n else 700)
            step_clock(clock)
            q.append(20)
            q.learn_times()
            move_cursor(q)
            if n % 2:
                trim(q)
            assert read_all(q.path) == b''.join(q.records[q.first:]), q.path
            events.new()
            for _ in range(40):
                check_selector(q, events)
            for _ in range(4):
                check_bad(q, events)
        for _ in range(20):
            check_file(folder + '/rope', data, events)
    print('%d rounds, %d records' % (rounds, sum(q.next() for q in queues)))


try:
    main()
except BaseException:
    print('SEED=' + sys.argv[3], file=sys.stderr)
    raise
