#!/usr/bin/env python3
"""make_bucket.py ENDPOINT BUCKET: makes a bucket, with the credentials of the AWS variables."""

import datetime
import hashlib
import hmac
import os
import sys
import urllib.parse
import urllib.request


def sign(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def main():
    endpoint, bucket = sys.argv[1:]
    host = urllib.parse.urlparse(endpoint).netloc
    now = datetime.datetime.utcnow().strftime('%Y%m%dT%H%M%SZ')
    scope = f'{now[:8]}/us-east-1/s3/aws4_request'
    payload = hashlib.sha256(b'').hexdigest()
    names = 'host;x-amz-content-sha256;x-amz-date'
    request = (f'PUT\n/{bucket}\n\nhost:{host}\nx-amz-content-sha256:{payload}\n'
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
    urllib.request.urlopen(urllib.request.Request(
        f'{endpoint}/{bucket}', method='PUT', headers=headers), timeout=60).read()


main()
