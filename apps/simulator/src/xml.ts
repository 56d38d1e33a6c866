import type { AwsError } from './aws-error.js';

/** What an answer is made of: lists become `<member>` elements, maps `<entry>`s, instants ISO 8601, absent members nothing. */
export type XmlValue = string | number | boolean | Date | XmlValue[] | Map<string, number> | XmlElements;
export type XmlElements = { [name: string]: XmlValue | undefined };

const entities: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', '\r': '&#xD;' };
const escape = (text: string) => text.replace(/[&<>"\r]/g, (character) => entities[character] ?? character);

function write(value: XmlValue): string {
  if (typeof value === 'string') return escape(value);
  if (typeof value !== 'object') return String(value);
  if (value instanceof Date) return `${value.toISOString().slice(0, 19)}Z`;
  if (Array.isArray(value)) return value.map((item) => `<member>${write(item)}</member>`).join('');
  if (value instanceof Map) {
    return [...value].map(([key, item]) => `<entry><key>${escape(key)}</key><value>${item}</value></entry>`).join('');
  }
  let text = '';
  for (const [name, member] of Object.entries(value)) {
    if (member !== undefined) text += `<${name}>${write(member)}</${name}>`;
  }
  return text;
}

/** The envelope of a call that succeeded, as the query protocol names its elements. */
export function successXml(action: string, xmlns: string, result: XmlElements, requestId: string): string {
  const body = write({ [`${action}Result`]: result, ResponseMetadata: { RequestId: requestId } });
  return `<${action}Response xmlns="${xmlns}">${body}</${action}Response>`;
}

/** The envelope of a refusal; the SDK takes the error's name from `Code`. */
export function errorXml(error: AwsError, xmlns: string, requestId: string): string {
  const type = error.status < 500 ? 'Sender' : 'Receiver';
  const body = write({ Error: { Type: type, Code: error.code, Message: error.message }, RequestId: requestId });
  return `<ErrorResponse xmlns="${xmlns}">${body}</ErrorResponse>`;
}
