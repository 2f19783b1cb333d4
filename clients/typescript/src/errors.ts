// Errors that the server sends, and those that only the client can detect.
import type { StopReason } from './connection.js';
import type { ErrorBody, ErrorType, FieldFault } from './protocol.js';

/** Type of an error: the server's, or `network` (the server did not respond), `expired` (the command
 * is too old), `stopped` (the client has given up to connect), `closed` (the client was closed) or `unsupported`
 * (the server's release does not know the request). */
export type RaidhallErrorType = ErrorType | 'network' | 'expired' | 'stopped' | 'closed' | 'unsupported';

interface Details extends Partial<Omit<ErrorBody, 'type' | 'message'>> {
  readonly reason?: StopReason;
  readonly cause?: unknown;
}

/** A refusal, or a fault that retries did not overcome. */
export class RaidhallError extends Error {
  readonly type: RaidhallErrorType;
  /** Whether the same request may succeed later. */
  readonly retry: boolean;
  readonly retryAfterMs: number | null;
  /** Every faulty field of the request, for `invalid`. */
  readonly fields: readonly FieldFault[];
  /** Why the client has given up to connect, for `stopped`. */
  readonly reason: StopReason | null;

  constructor(type: RaidhallErrorType, message: string, details: Details = {}) {
    super(message, 'cause' in details ? { cause: details.cause } : {});
    this.name = 'RaidhallError';
    this.type = type;
    this.retry = details.retry ?? false;
    this.retryAfterMs = details.retry_after_ms ?? null;
    this.fields = details.fields ?? [];
    this.reason = details.reason ?? null;
  }

  static of({ type, message, ...details }: ErrorBody): RaidhallError {
    return new RaidhallError(type, message, details);
  }
}

/** Returns the server's error in the body of a response; null if the body is not Raidhall's. */
export function errorIn(body: unknown): ErrorBody | null {
  const error = Object(Object(body).error) as Partial<ErrorBody>;
  return typeof error.type === 'string' ? (error as ErrorBody) : null;
}

/** Returns the message of an error and of its causes: that of `fetch` alone does not say what
 * failed. */
export function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const cause = error.cause === undefined ? '' : messageOf(error.cause);
  return cause && !error.message.includes(cause) ? `${error.message}: ${cause}` : error.message;
}
