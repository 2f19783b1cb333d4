// A part of the raid's screen. Where there is room for one at a time, the others rest: they keep what was typed, and nothing of them
// is drawn until they are in view again.
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
