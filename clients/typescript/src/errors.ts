// Errors that the server sends, and those that only the client can detect.
import type { ErrorBody, ErrorType, FieldFault } from './protocol.js';

/** A refusal, or a fault that retries did not overcome. */
export class RaidhallError extends Error {
  readonly type: ErrorType | 'closed' | 'network';
  /** Whether the same request may succeed later. */
  readonly retry: boolean;
  readonly retryAfterMs: number | null;
  /** Every faulty field of the request, for `invalid`. */
  readonly fields: readonly FieldFault[];

  constructor(type: ErrorType | 'closed' | 'network', message: string, rest: Partial<Omit<ErrorBody, 'type' | 'message'>> = {}) {
    super(message);
    this.name = 'RaidhallError';
    this.type = type;
    this.retry = rest.retry ?? false;
    this.retryAfterMs = rest.retry_after_ms ?? null;
    this.fields = rest.fields ?? [];
  }

  static of({ type, message, ...rest }: ErrorBody): RaidhallError {
    return new RaidhallError(type, message, rest);
  }
}
