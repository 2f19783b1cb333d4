// A part of the raid's screen. On a narrow screen the hidden parts keep their state, such as typed
// text, and render nothing until they are shown again.
import { Activity, useRef } from 'react';
import type { ReactNode } from 'react';
import { SceneContext, useScene } from './play';

export function Part({ name, label, inView, children }: { name: string; label: string; inView: boolean; children: ReactNode }) {
  const now = useScene();
  const latest = useRef({ scene: now, children });
  if (inView) latest.current = { scene: now, children };
  const { scene, children: content } = latest.current;
  return (
    <Activity mode={inView ? 'visible' : 'hidden'}>
      <SceneContext value={scene}>
        <section className={`part-${name}`} aria-label={label}>{content}</section>
      </SceneContext>
    </Activity>
  );
}
