// How messages travel: MessagePack in binary frames, or JSON in text frames. The same maps either way.
import { decode, encode } from '@msgpack/msgpack';
import { SUBPROTOCOL_JSON, SUBPROTOCOL_MSGPACK } from './protocol.js';
import type { ClientMessage, ServerMessage } from './protocol.js';

/** One of the two forms, chosen by the WebSocket's subprotocol. */
export interface Codec {
  readonly subprotocol: string;
  encode(message: ClientMessage): string | Uint8Array<ArrayBuffer>;
  /** @throws if it is not what this codec writes. */
  decode(frame: string | ArrayBuffer): ServerMessage;
}

/** Smaller and quicker to read: what is used unless you say otherwise. */
export const msgpack: Codec = {
  subprotocol: SUBPROTOCOL_MSGPACK,
  encode: message => encode(message, { ignoreUndefined: true }) as Uint8Array<ArrayBuffer>,
  decode(frame) {
    if (typeof frame === 'string') throw new TypeError('a text frame where binary ones were agreed on');
    return decode(frame) as ServerMessage;
  },
};

/** Readable in the browser's network panel. */
export const json: Codec = {
  subprotocol: SUBPROTOCOL_JSON,
  encode: message => JSON.stringify(message),
  decode(frame) {
    if (typeof frame !== 'string') throw new TypeError('a binary frame where text ones were agreed on');
    return JSON.parse(frame) as ServerMessage;
  },
};
