/**
 * Limits of picture quality that the gate of bursts and the check of clips share; docs/quality-gate.md has the real frames
 * on which they were set.
 */
export const QUALITY_LIMITS = {
  /** A pixel counts as glare from this level, 0..255. */
  glareLevel: 250,
  /** Largest share of a picture that is glare, 0..1. */
  glare01: 0.05,
  /** Smallest median standard deviation of the blocks of the sea without fog, 0..255. */
  blockStd: 5,
  /** A cell is blank below this mean luma step between neighbouring groups of pixels, 0..255. */
  blankStep: 1,
  /** Largest share of blank cells of the sea that is no obstruction, 0..1. */
  covered01: 0.16,
} as const;
