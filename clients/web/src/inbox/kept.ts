import type { Notification } from '../inbox';
import { fits } from '../shape';

const SHAPE = [{ seq: 'number', at: 'number', kind: 'string', read: 'boolean' }] as const;

/** Returns whether a value that the browser kept is a list of notifications. */
export const areNotifications = (value: unknown): value is readonly Notification[] => fits(value, SHAPE);
