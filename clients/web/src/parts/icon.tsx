// Icons as strokes in the colour of the text around them. A text always stands beside an icon.

/** The path of each icon, in a square of 24. */
const PATHS = {
  bag: 'M5 8h14l1 12H4zM8.5 11V7a3.5 3.5 0 0 1 7 0v4',
  bell: 'M6 17V11a6 6 0 0 1 12 0v6l1.5 2h-15zM10 19.5a2 2 0 0 0 4 0',
  bolt: 'M13 2.5 5 13.5h6l-1 8 8-11h-6z',
  check: 'M12 3a9 9 0 1 0 9 9M8 11.5l3.5 3.5L21 5',
  coin: 'M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM12 7.5a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9z',
  crown: 'M4 18 3 7.5l5 4L12 5l4 6.5 5-4L20 18zM4.5 21h15',
  footprints: 'M7.5 3C5.6 3 4.5 4.8 4.5 7c0 1.8.9 2.6 1 4.5h3.5c.1-1.9 1-2.7 1-4.5 0-2.2-.6-4-2.5-4zM5.6 14.5h3.3c.3 1.6-.3 2.8-1.6 2.8s-2-1.2-1.7-2.8zM16.5 6.5c-1.9 0-2.5 1.8-2.5 4 0 1.8.9 2.6 1 4.5h3.5c.1-1.9 1-2.7 1-4.5 0-2.2-1.1-4-3-4zM15.1 18h3.3c.3 1.6-.4 2.8-1.7 2.8s-1.9-1.2-1.6-2.8z',
  frame: 'M4 4h16v16H4zM8 8h8v8H8z',
  gem: 'M7 4h10l4 6-9 11L3 10zM3 10h18M9 10l3 11 3-11-3-6z',
  gift: 'M4 12h16v9H4zM3 8h18v4H3zM12 8v13M12 8C10 8 7.5 7.5 7.5 5.5S10.5 3 12 8zM12 8c2 0 4.5-.5 4.5-2.5S13.5 3 12 8z',
  hand: 'M8 13V5.5a1.5 1.5 0 0 1 3 0V11V4a1.5 1.5 0 0 1 3 0v7V5.5a1.5 1.5 0 0 1 3 0V15a6 6 0 0 1-6 6c-2.5 0-3.8-1-5-3l-2.5-4a1.5 1.5 0 0 1 2.5-1.6z',
  medal: 'M8.5 9.5 5 3h5l2 4M15.5 9.5 19 3h-5l-2 4M12 9a6 6 0 1 0 0 12 6 6 0 0 0 0-12zM12 12.5v5M10.5 13.5l1.5-1',
  mountain: 'M2.5 20 9 7l4 7.5 2.5-4L21.5 20zM7 11l2 1.5 2-1.5',
  people: 'M9 4.5a3.5 3.5 0 1 0 0 7 3.5 3.5 0 0 0 0-7zM2.5 20c0-3.5 2.5-6 6.5-6s6.5 2.5 6.5 6M15.5 5a3.5 3.5 0 0 1 0 6.5M18 14.5c2.2.8 3.5 2.8 3.5 5.5',
  phoenix: 'M12 21c-4.5 0-7-2.8-7-6.5C5 10 9 8.5 9.5 3c3.5 1.5 5 4 5 6.5 1-.5 1.5-1.5 1.5-2.5 2 2 3 4.5 3 7.5 0 3.7-2.5 6.5-7 6.5zM12 21c-2 0-3-1.3-3-3 0-2 2-2.5 2.5-5 2 1 3.5 2.8 3.5 5 0 1.7-1 3-3 3z',
  shield: 'M12 2.5 4.5 5.5V11c0 5 3 8.5 7.5 10.5 4.5-2 7.5-5.5 7.5-10.5V5.5zM12 2.5v19',
  spark: 'M12 3v5M12 16v5M3 12h5M16 12h5M6 6l3 3M15 15l3 3M18 6l-3 3M9 15l-3 3',
  star: 'm12 3 2.8 5.8 6.2.9-4.5 4.4 1.1 6.4L12 17.5l-5.6 3 1.1-6.4L3 9.7l6.2-.9z',
  trophy: 'M7 4h10v6a5 5 0 0 1-10 0zM7 6H3.5c0 3.5 1.5 5 3.8 5M17 6h3.5c0 3.5-1.5 5-3.8 5M12 15v3M8 21c0-2 1.5-3 4-3s4 1 4 3z',
  up: 'M5 12l7-7 7 7M5 19l7-7 7 7',
};

export type IconName = keyof typeof PATHS;

export const hasIcon = (name: string): name is IconName => Object.hasOwn(PATHS, name);

/** An operator's definitions may name icons that this release does not have: they show a star. */
export default function Icon({ name }: { name: string }) {
  return <svg className="icon-of" viewBox="0 0 24 24" aria-hidden="true"><path d={PATHS[hasIcon(name) ? name : 'star']} /></svg>;
}
