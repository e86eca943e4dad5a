#!/usr/bin/env python3
"""proxy.py TARGET_PORT KINDS RATE SEED: a proxy on a free port of 127.0.0.1, which it prints,
before an S3 server. It spoils about one request in RATE, each time by one of KINDS (comma
separated):

  refuse   the connection is closed before anything is sent
  slow     503 SlowDown
  bare     503 without a word
  there    412 without a word
  stall    nothing comes for half a minute
  late     the answer comes a second late
  cut      the answer's body ends in its middle
  lost     the request is done, and no answer comes
  wrong    a byte of an answer's body is another one
  wrongput a byte of the request's body is another one
  skew     403 RequestTimeTooSkewed
  expired  403 ExpiredToken
  token    400 InvalidToken
  uncond   If-None-Match is lost on the way: a server that knows no conditional put
  hang     (alone) each RATE-th get of a range has no answer for half a minute

WIRE in the environment is a file that gets all that comes from the client."""

import http.client
import os
import random
import socketserver
import sys
import threading
import time
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler

ERROR = '<?xml version="1.0"?><Error><Code>{}</Code><Message>spoiled</Message></Error>'
target, kinds, rate, seed = sys.argv[1:]
chance = random.Random(int(seed))
lock = threading.Lock()


wire = open(os.environ['WIRE'], 'ab') if 'WIRE' in os.environ else None
ranged = 0


def note_wire(handler, body):
    if wire:
        with lock:
            wire.write(handler.requestline.encode() + bytes(handler.headers) + body)
            wire.flush()


def next_fault(is_ranged):
    global ranged
    with lock:
        if kinds == 'hang':
            ranged += is_ranged
            return 'hang' if is_ranged and ranged % int(rate) == 0 else ''
        if chance.randrange(int(rate)):
            return ''
        return chance.choice(kinds.split(','))


class Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def log_message(self, *_):
        pass

    def refuse(self, status, code):
        body = ERROR.format(code).encode() if code else b''
        self.send_response_only(status)
        self.send_header('Date', formatdate(usegmt=True))
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        if self.command != 'HEAD':
            self.wfile.write(body)

    def drop(self):
        self.close_connection = True
        self.connection.close()

    def forward(self, body):
        upstream = http.client.HTTPConnection('127.0.0.1', int(target), timeout=60)
        upstream.putrequest(self.command, self.path, skip_host=True,
                            skip_accept_encoding=True)
        for name, value in self.headers.items():
            upstream.putheader(name, value)
        upstream.endheaders()
        if body:
            upstream.send(body)
        answer = upstream.getresponse()
        return answer, answer.read()

    def answer(self, answer, body, fault):
        if fault == 'wrong' and body:
            at = len(body) // 2
            body = body[:at] + bytes([body[at] ^ 1]) + body[at + 1:]
        self.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ('connection', 'transfer-encoding', 'content-length'):
                self.send_header(name, value)
        length = answer.getheader('Content-Length') if self.command == 'HEAD' else len(body)
        self.send_header('Content-Length', str(length))
        self.end_headers()
        if fault == 'cut' and body:
            self.wfile.write(body[:len(body) // 2])
            self.wfile.flush()
            self.drop()
        elif self.command != 'HEAD':
            self.wfile.write(body)

    def handle_one(self):
        fault = next_fault('Range' in self.headers)
        body = self.rfile.read(int(self.headers.get('Content-Length') or 0))
        note_wire(self, body)
        if fault == 'refuse':
            return self.drop()
        if fault == 'slow':
            return self.refuse(503, 'SlowDown')
        if fault == 'bare':
            return self.refuse(503, '')
        if fault == 'there':
            return self.refuse(412, '')
        if fault in ('stall', 'hang'):
            time.sleep(30)
            return self.drop()
        if fault == 'skew':
            return self.refuse(403, 'RequestTimeTooSkewed')
        if fault == 'expired':
            return self.refuse(403, 'ExpiredToken')
        if fault == 'token':
            return self.refuse(400, 'InvalidToken')
        if fault == 'uncond':
            del self.headers['If-None-Match']
        if fault == 'wrongput' and body:
            body = body[:-1] + bytes([body[-1] ^ 1])
        answer, got = self.forward(body)
        if fault == 'lost':
            return self.drop()
        if fault == 'late':
            time.sleep(1)
        return self.answer(answer, got, fault)

    do_GET = do_PUT = do_HEAD = do_DELETE = handle_one

    def handle(self):
        try:
            super().handle()
        except (OSError, http.client.HTTPException, ValueError):
            pass

    def finish(self):
        try:
            super().finish()
        except (OSError, ValueError):
            pass


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64


with Server(('127.0.0.1', 0), Handler) as server:
    print(server.server_address[1], flush=True)
    server.serve_forever()
