import { lazy } from 'react';
import type { ComponentType } from 'react';

/**
 * Returns a component that is loaded when it is first shown, so that the first page loads faster. If it
 * cannot be loaded, nothing is shown in its place.
 */
export const optional = <Props extends object>(load: () => Promise<{ default: ComponentType<Props> }>) =>
  lazy<ComponentType<Props>>(() => load().catch(() => ({ default: () => null })));
