/** Dice from a seed (mulberry32): `dice(n)` is a whole number from 0 up to, not including, n. */
export function random(seed) {
  return (sides) => {
    seed = (seed + 0x6d2b79f5) | 0;
    let mix = Math.imul(seed ^ (seed >>> 15), seed | 1);
    mix ^= mix + Math.imul(mix ^ (mix >>> 7), mix | 61);
    return Math.floor((((mix ^ (mix >>> 14)) >>> 0) / 2 ** 32) * sides);
  };
}
