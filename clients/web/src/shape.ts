// Checks values that come from outside the program: what the browser kept may be of another release.

/** What a value must be: a type, one of several as `number|null`, a list of a shape, or an object. */
export type Shape = string | readonly [Shape] | { readonly [name: string]: Shape };

/** Returns whether a value has a shape. An object may have more than the shape names. */
export function fits(value: unknown, shape: Shape): boolean {
  if (typeof shape === 'string') return shape.split('|').includes(value === null ? 'null' : typeof value);
  if (Array.isArray(shape)) return Array.isArray(value) && value.every(item => fits(item, shape[0] as Shape));
  return typeof value === 'object' && value !== null && Object.entries(shape).every(([name, part]) => fits((value as Record<string, unknown>)[name], part));
}
