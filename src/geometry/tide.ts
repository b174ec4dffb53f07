import { constituents as KNOWN, createTidePredictor } from '@neaps/tide-predictor';
import { Type, type Static } from '@sinclair/typebox';
import { AgentError } from '../base/errors.ts';
import { schemaChecker } from '../base/schema-checker.ts';

export interface TideConstituent {
  /** `M2`, `S2`, `K1`, ... as in the list of the International Hydrographic Organization. */
  readonly name: string;
  /** Metres. */
  readonly amplitude: number;
  /** Greenwich phase lag, degrees. */
  readonly phase: number;
}

/** The predictor ignores constituents that it does not know: those above this amplitude are refused instead, metres. */
const MAX_IGNORED_M = 0.01;

/**
 * Predicts the astronomical tide: the level above the mean, metres, at a time in ms since 1970. Storm surge is not in it.
 * Throws `tide_invalid` for a constituent that is not known.
 */
export function predictTide(constituents: readonly TideConstituent[]): (timeMs: number) => number {
  const unknown = constituents.find(({ name, amplitude }) => !(name in KNOWN) && amplitude > MAX_IGNORED_M);
  if (unknown) throw new AgentError('tide_invalid', `the tidal constituent ${unknown.name} is not known`);
  const predictor = createTidePredictor([...constituents]);
  return (timeMs) => predictor.getWaterLevelAtTime({ time: new Date(timeMs) }).level;
}

const StationFile = Type.Object({
  harmonic_constituents: Type.Array(
    Type.Object({
      name: Type.String({ minLength: 1, maxLength: 20 }),
      amplitude: Type.Number({ minimum: 0, maximum: 20 }),
      phase: Type.Number({ minimum: -360, maximum: 360 }),
    }),
    { minItems: 1, maxItems: 500 },
  ),
});
const isStationFile = schemaChecker({ strict: false }).compile<Static<typeof StationFile>>(StationFile);

/** Reads the constituents of a station file of the public tide database (github.com/openwatersio/tide-database). Throws `tide_invalid`. */
export function parseTideStation(text: string): readonly TideConstituent[] {
  let file: unknown;
  try {
    file = JSON.parse(text);
  } catch (cause) {
    throw new AgentError('tide_invalid', 'the file of the tide station is no JSON', { cause });
  }
  if (isStationFile(file)) return file.harmonic_constituents;
  const path = isStationFile.errors?.[0]?.instancePath ?? '';
  throw new AgentError(
    'tide_invalid',
    `the file of the tide station is invalid at ${path === '' ? 'its top' : path}`,
  );
}
