import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { AwsError } from './aws-error.js';

/** What an `Authorization: AWS4-HMAC-SHA256 …` header says. */
export interface Signature {
  accessKeyId: string;
  /** `20260131`, region, service, and the constant `aws4_request`. */
  scope: { date: string; region: string; service: string };
  signedHeaders: string[];
  signature: string;
  /** `X-Amz-Date`, for example `20260131T120000Z`. */
  date: string;
}

export interface SignedRequest {
  method: string;
  /** Path and query as they stand in the request line. */
  url: string;
  headers: IncomingHttpHeaders;
  body: Buffer;
}

const allowedSkewMs = 15 * 60_000;
const authorizationForm =
  /^AWS4-HMAC-SHA256 Credential=([\w]+)\/(\d{8})\/([\w-]+)\/([\w-]+)\/aws4_request, ?SignedHeaders=([\w;-]+), ?Signature=([0-9a-f]{64})$/;
const dateForm = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/;

const mismatch = (message: string) => new AwsError('SignatureDoesNotMatch', message, 403);
const incomplete = (message: string) => new AwsError('IncompleteSignature', message, 400);

/**
 * Reads the signature of a request; decides nothing about it yet.
 * @throws AwsError MissingAuthenticationToken or IncompleteSignature.
 */
export function readSignature(headers: IncomingHttpHeaders): Signature {
  const authorization = headers.authorization;
  if (!authorization) {
    throw new AwsError('MissingAuthenticationToken', 'Request is missing Authentication Token', 403);
  }
  const parts = authorizationForm.exec(authorization);
  const date = headers['x-amz-date'];
  if (!parts) throw incomplete('Authorization header is not of the form that Signature Version 4 asks for.');
  if (typeof date !== 'string' || !dateForm.test(date)) {
    throw incomplete("Date must be in ISO-8601 'basic format' in header 'X-Amz-Date'.");
  }
  const [, accessKeyId = '', day = '', region = '', service = '', signedHeaders = '', signature = ''] = parts;
  return {
    accessKeyId,
    scope: { date: day, region, service },
    signedHeaders: signedHeaders.split(';'),
    signature,
    date,
  };
}

/**
 * Refuses a signature for another service, outside 15 minutes of `now` (milliseconds), or not made with `secret`.
 * @throws AwsError SignatureDoesNotMatch, as IAM and STS name all three.
 */
export function verifySignature(
  signed: Signature,
  request: SignedRequest,
  service: string,
  secret: string,
  now: number,
) {
  if (signed.scope.service !== service) throw mismatch(`Credential should be scoped to correct service: '${service}'.`);
  if (!/^[a-z]{2,4}(-[a-z]+)+-\d+$/.test(signed.scope.region)) {
    throw mismatch('Credential should be scoped to a valid region.');
  }
  if (signed.scope.date !== signed.date.slice(0, 8)) {
    throw mismatch(
      `Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '${signed.scope.date}' != '${signed.date.slice(0, 8)}', from '${signed.date}'.`,
    );
  }
  if (!signed.signedHeaders.includes('host') || !signed.signedHeaders.includes('x-amz-date')) {
    throw mismatch("'Host' and 'X-Amz-Date' must be signed headers in the AWS Authorization.");
  }
  refuseSkew(signed.date, now);
  const expected = createHmac('sha256', signingKey(secret, signed.scope))
    .update(stringToSign(signed, request))
    .digest();
  if (!timingSafeEqual(expected, Buffer.from(signed.signature, 'hex'))) {
    throw mismatch(
      'The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.',
    );
  }
}

function refuseSkew(date: string, now: number): void {
  const signedAt = Date.parse(date.replace(dateForm, '$1-$2-$3T$4:$5:$6Z'));
  const basic = (instant: number) => `${new Date(instant).toISOString().slice(0, 19).replace(/[-:]/g, '')}Z`;
  if (signedAt < now - allowedSkewMs) {
    throw mismatch(
      `Signature expired: ${date} is now earlier than ${basic(now - allowedSkewMs)} (${basic(now)} - 15 min.)`,
    );
  }
  if (signedAt > now + allowedSkewMs) {
    throw mismatch(
      `Signature not yet current: ${date} is still later than ${basic(now + allowedSkewMs)} (${basic(now)} + 15 min.)`,
    );
  }
}

function stringToSign(signed: Signature, request: SignedRequest): string {
  const [path = '/', query = ''] = request.url.split('?', 2);
  const canonicalHeaders = signed.signedHeaders.map((name) => {
    const value = request.headers[name];
    const text = Array.isArray(value) ? value.join(',') : (value ?? '');
    return `${name}:${text.trim().replace(/\s+/g, ' ')}\n`;
  });
  const canonicalRequest = [
    request.method,
    path.split('/').map(encodeURIComponent).join('/'),
    query.split('&').sort().join('&'),
    canonicalHeaders.join(''),
    signed.signedHeaders.join(';'),
    createHash('sha256').update(request.body).digest('hex'),
  ].join('\n');
  const { date, region, service } = signed.scope;
  const hash = createHash('sha256').update(canonicalRequest).digest('hex');
  return `AWS4-HMAC-SHA256\n${signed.date}\n${date}/${region}/${service}/aws4_request\n${hash}`;
}

const signingKeys = new Map<string, Buffer>();

/** A day's key for one secret, kept because four HMACs on every call would be most of the work of checking it. */
function signingKey(secret: string, scope: Signature['scope']): Buffer {
  const name = `${secret}/${scope.date}/${scope.region}/${scope.service}`;
  const known = signingKeys.get(name);
  if (known) return known;
  const hmac = (key: string | Buffer, text: string) => createHmac('sha256', key).update(text).digest();
  const key = hmac(hmac(hmac(hmac(`AWS4${secret}`, scope.date), scope.region), scope.service), 'aws4_request');
  if (signingKeys.size >= 1_000) signingKeys.clear();
  signingKeys.set(name, key);
  return key;
}
