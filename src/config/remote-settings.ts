import { AgentError } from '../base/errors.ts';
import { isObject, omitKeys, type Layer } from './layers.ts';
import { indexCameras, type Overlay } from './overlay.ts';

/** Names that lead to one value of a document. A camera stands under its id: `['cameras', 'north', 'schedule', 'everyS']`. */
type Path = readonly string[];

const listPaths = (layer: Layer, prefix: Path): readonly Path[] =>
  Object.entries(layer).flatMap(([name, value]) => {
    const path = [...prefix, name];
    return isObject(value) ? listPaths(value, path) : [path];
  });

const listDocumentPaths = ({ cameras, ...rest }: Layer): readonly Path[] => [
  ...listPaths(rest, []),
  ...[...indexCameras(cameras)].flatMap(([id, camera]) =>
    listPaths(omitKeys(camera, ['id']), ['cameras', id]),
  ),
];

/** Dotted keys of the values of a document: `heartbeat.intervalS`, `cameras.north.schedule.everyS`. */
export const listDottedKeys = (document: Layer): readonly string[] =>
  listDocumentPaths(document).map((path) => path.join('.'));

/**
 * The overlay without the values of a key, which may be that of a group or of a camera; without any value for null. Throws
 * `request_invalid` when it has none of them.
 */
export function dropRemoteSettings(
  overlay: Overlay,
  key: string | null,
): { readonly overlay: Overlay; readonly keys: readonly string[] } {
  // An id may contain dots: compare whole names.
  const isDropped = (path: Path): boolean =>
    key === null || path.some((_, index) => path.slice(0, index + 1).join('.') === key);
  const keys = listDocumentPaths(overlay)
    .filter(isDropped)
    .map((path) => path.join('.'));
  if (keys.length === 0) {
    const set = listDottedKeys(overlay).join(', ');
    throw new AgentError(
      'request_invalid',
      set === ''
        ? 'remote commands have set nothing'
        : `remote commands have not set ${key ?? ''}; they have set ${set}`,
    );
  }
  const { cameras, ...rest } = overlay;
  const kept = [...indexCameras(cameras)].flatMap(([id, camera]) => {
    const left = omitPaths(omitKeys(camera, ['id']), ['cameras', id], isDropped);
    return Object.keys(left).length === 0 ? [] : [{ id, ...left }];
  });
  const others = omitPaths(rest, [], isDropped);
  return { overlay: kept.length === 0 ? others : { ...others, cameras: kept }, keys };
}

/** Removes values, and groups that are empty without them. */
const omitPaths = (layer: Layer, prefix: Path, isOmitted: (path: Path) => boolean): Layer =>
  Object.fromEntries(
    Object.entries(layer).flatMap(([name, value]) => {
      const path = [...prefix, name];
      if (!isObject(value)) return isOmitted(path) ? [] : [[name, value]];
      const left = omitPaths(value, path, isOmitted);
      return Object.keys(left).length === 0 ? [] : [[name, left]];
    }),
  );
