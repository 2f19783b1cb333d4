import { Component } from 'react';
import type { ReactNode } from 'react';
import { words } from '../settings';

/**
 * Replaces the page by a reload button when a component throws. React logs the error to the
 * console.
 */
export class Boundary extends Component<{ children: ReactNode }, { failed: boolean }> {
  override state = { failed: false };

  static getDerivedStateFromError(): { failed: boolean } {
    return { failed: true };
  }

  override render(): ReactNode {
    if (!this.state.failed) return this.props.children;
    return (
      <main className="page narrow panel" role="alert">
        <h1>{words().crashed}</h1>
        <button type="button" className="primary" onClick={() => location.reload()}>{words().reload}</button>
      </main>
    );
  }
}
