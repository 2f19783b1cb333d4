import { connect } from '../src/client.js';
import type { Client } from '../src/client.js';
import type { GetToken, Socket } from '../src/connection.js';
import type { Fetch } from '../src/fetch.js';
import type { Storage } from '../src/outbox.js';
import type { ClientMessage, ServerMessage } from '../src/protocol.js';
import { VirtualClock, codec } from './simulation.js';

/** The server's end of a connection, controlled by the test. */
export class Peer {
  readonly clock = new VirtualClock(() => 1);
  readonly sockets: (Socket & { readyState: number; received: ClientMessage[]; closed: boolean })[] = [];
  readonly client: Client;

  constructor(getToken: GetToken = () => 'a token', options: { storage?: Storage; fetch?: Fetch; commandAgeMaxMs?: number } = {}) {
    const { sockets } = this;
    const WebSocket = class {
      constructor() {
        const socket: Peer['sockets'][number] = {
          binaryType: '', readyState: 1, received: [], closed: false, onopen: null, onmessage: null, onclose: null, onerror: null,
          send: frame => socket.received.push(JSON.parse(frame as string) as ClientMessage),
          close: () => (socket.closed = true),
        };
        sockets.push(socket);
        return socket;
      }
    };
    this.client = connect({ url: 'https://server/sub/', getToken, WebSocket, codec, clock: this.clock, ...options });
  }

  get socket(): Peer['sockets'][number] {
    return this.sockets.at(-1)!;
  }

  get state(): string {
    return this.client.getStatus().state;
  }

  say(message: object): void {
    this.socket.onmessage?.({ data: JSON.stringify(message as ServerMessage) });
  }

  async welcome(features: string[] = ['player'], lineage = 'one'): Promise<void> {
    await this.clock.pass(0);
    this.socket.onopen?.();
    const limits = { message_bytes: 200, commands_per_second: 20, watches: 32 };
    this.say({ t: 'welcome', player: { id: 5, name: 'Ada' }, session: 's', now: this.clock.now() + 500, heartbeat_ms: 1_000, limits, lineage, features });
  }

  lose(code: number): void {
    this.socket.onclose?.({ code });
  }
}
