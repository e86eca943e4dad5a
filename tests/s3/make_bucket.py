#!/usr/bin/env python3
"""make_bucket.py ENDPOINT BUCKET [versioned]: makes a bucket, that keeps versions or not, with the
credentials of the AWS variables."""

import datetime
import hashlib
import hmac
import os
import sys
import urllib.parse
import urllib.request


def sign(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def put(endpoint, path, query, body):
    host = urllib.parse.urlparse(endpoint).netloc
    now = datetime.datetime.utcnow().strftime('%Y%m%dT%H%M%SZ')
    scope = f'{now[:8]}/us-east-1/s3/aws4_request'
    payload = hashlib.sha256(body).hexdigest()
    names = 'host;x-amz-content-sha256;x-amz-date'
    request = (f'PUT\n{path}\n{query}\nhost:{host}\nx-amz-content-sha256:{payload}\n'
               f'x-amz-date:{now}\n\n{names}\n{payload}')
    text = f'AWS4-HMAC-SHA256\n{now}\n{scope}\n' + hashlib.sha256(request.encode()).hexdigest()
    key = ('AWS4' + os.environ['AWS_SECRET_ACCESS_KEY']).encode()
    for word in scope.split('/'):
        key = sign(key, word)
    signature = sign(key, text).hex()
    headers = {
        'Authorization': f'AWS4-HMAC-SHA256 Credential={os.environ["AWS_ACCESS_KEY_ID"]}/'
                         f'{scope},SignedHeaders={names},Signature={signature}',
        'x-amz-content-sha256': payload,
        'x-amz-date': now,
    }
    url = f'{endpoint}{path}' + (f'?{query}' if query else '')
    urllib.request.urlopen(urllib.request.Request(url, method='PUT', headers=headers,
                                                  data=body), timeout=60).read()


def main():
    endpoint, bucket, *versioned = sys.argv[1:]
    put(endpoint, f'/{bucket}', '', b'')
    if versioned:
        put(endpoint, f'/{bucket}', 'versioning=',
            b'<VersioningConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            b'<Status>Enabled</Status></VersioningConfiguration>')


main()
