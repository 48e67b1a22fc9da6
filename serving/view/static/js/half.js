// float16: half the memory of float32; likeness changes by less than 0.0001.

const VALUES = 65536;

/** The number that each of the 65,536 bit patterns of float16 stands for. */
export const NUMBERS = Float32Array.from({ length: VALUES }, (_, bits) => {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
});

const float = new Float32Array(1);
const word = new Uint32Array(float.buffer);

/** Returns the bits of the nearest float16; of two equally near ones, the even one. */
export function toHalf(number) {
  float[0] = number;
  const sign = (word[0] >>> 16) & 0x8000;
  const exponent = (word[0] >>> 23) & 0xff;
  const fraction = word[0] & 0x7fffff;
  if (exponent === 0xff) return sign | 0x7c00 | (fraction ? 0x200 : 0);
  let kept = exponent - 112;
  if (kept >= 31) return sign | 0x7c00;
  if (kept < -10) return sign;
  // Below the smallest normal number the leading one is written out, and shifted.
  const shift = kept <= 0 ? 14 - kept : 13;
  const whole = kept <= 0 ? fraction | 0x800000 : fraction;
  kept = Math.max(kept, 0);
  const rest = whole & ((1 << shift) - 1);
  const middle = 1 << (shift - 1);
  let bits = (kept << 10) + (whole >>> shift);
  if (rest > middle || (rest === middle && bits & 1)) bits += 1;
  return sign | bits;
}

/** Returns the bytes that a base64 text stands for. */
export function bytesOf(text) {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i += 1) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

/** Returns bytes as base64. */
export function base64Of(bytes) {
  let binary = "";
  for (let at = 0; at < bytes.length; at += 0x8000) {
    binary += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  }
  return btoa(binary);
}
