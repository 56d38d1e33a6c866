import type { Reader } from './counting-line.js';

/** Statements of PostgreSQL's protocol, version 3, each time one is executed: its text, also where it was named before. */
export function statements(): Reader {
  const named = new Map<string, string>();
  // The first message has no type.
  let typeBytes = 0;
  return inPieces((rest) => {
    if (rest.length < typeBytes + 4) return undefined;
    const end = typeBytes + rest.readUInt32BE(typeBytes);
    if (rest.length < end) return undefined;
    const type = typeBytes === 0 ? '' : String.fromCharCode(rest[0]!);
    const [first = '', second = ''] = rest
      .subarray(typeBytes + 4, end)
      .toString('latin1')
      .split('\0', 2);
    typeBytes = 1;
    if (type === 'P') named.set(first, second);
    if (type === 'Q') return { end, name: first };
    return { end, name: type === 'B' ? (named.get(second) ?? '') : undefined };
  });
}

/** Messages that a client of AMQP 0-9-1 publishes. */
export function publishes(): Reader {
  let greeted = false;
  return inPieces((rest) => {
    if (!greeted) {
      if (rest.length < 8) return undefined;
      greeted = true;
      return { end: 8 };
    }
    // A frame: type, channel, length of its content, content, end.
    if (rest.length < 7) return undefined;
    const end = 7 + rest.readUInt32BE(3) + 1;
    if (rest.length < end) return undefined;
    const isPublish = rest[0] === 1 && rest.readUInt16BE(7) === 60 && rest.readUInt16BE(9) === 40;
    return { end, name: isPublish ? 'publish' : undefined };
  });
}

/** Commands to Redis, by name. */
export function redisCommands(): Reader {
  return inPieces((rest) => {
    let at = 0;
    const line = () => {
      const end = rest.indexOf('\r\n', at, 'latin1');
      if (end < 0) return undefined;
      const text = rest.toString('latin1', at, end);
      at = end + 2;
      return text;
    };
    const head = line();
    if (head === undefined) return undefined;
    let name = head;
    for (let part = 0; head.startsWith('*') && part < Number(head.slice(1)); part += 1) {
      const length = line();
      if (length === undefined) return undefined;
      const end = at + Number(length.slice(1));
      if (rest.length < end + 2) return undefined;
      if (part === 0) name = rest.toString('latin1', at, end).toLowerCase();
      at = end + 2;
    }
    return { end: at, name };
  });
}

/** One message at the beginning of what is unread: where it ends, and its name where it counts; undefined until it is whole. */
type Message = { end: number; name?: string | undefined } | undefined;

function inPieces(next: (rest: Buffer) => Message): Reader {
  let rest: Buffer = Buffer.alloc(0);
  return (chunk) => {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    const names: string[] = [];
    for (let message = next(rest); message; message = rest.length > 0 ? next(rest) : undefined) {
      if (message.name !== undefined) names.push(message.name);
      rest = rest.subarray(message.end);
    }
    return names;
  };
}
