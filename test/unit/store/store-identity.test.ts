import {
  chmodSync,
  cpSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createdOf } from '../../../src/store/store-identity.ts';
import type { Store } from '../../../src/store/store.ts';
import type { HardwareIds } from '../../../src/store/types.ts';
import { draft, ManualClock, NO_FEATURES, openStore, tempDir } from '../../fixtures/store.ts';

const DATABASE = 'swellsight.db';
const SIDE_FILE = 'swellsight.seq.json';

describe('store id', () => {
  let dir: ReturnType<typeof tempDir>;
  let state: string;
  let backup: string;
  let hardware: HardwareIds;
  /** `store_id`, camera and `seq` of all records, by the id of the record. */
  let names: Map<string, string>;
  beforeEach(() => {
    dir = tempDir();
    state = join(dir.path, 'state');
    backup = join(dir.path, 'backup');
    hardware = { machine: ['serial-1', 'dc:a6:32:01:02:03'], disk: 'cid-1' };
    names = new Map();
  });
  afterEach(() => dir.remove());

  /** Opens the store, makes records, calls `inRun`, and closes the store. Returns the id and the reason of its change. */
  function run(inRun: (store: Store) => void = () => undefined, path = state): [string, unknown] {
    const store = openStore(path, new ManualClock(), {}, { hardware: () => hardware });
    for (let n = 0; n < 3; n += 1) {
      const record = store.append(draft(), NO_FEATURES);
      expect(record.store_id).toBe(store.id);
      names.set(record.id, `${store.id} ${record.camera} ${record.seq}`);
    }
    const [event] = store.events.recent(1);
    if (event) expect(event.store_id).toBe(store.id);
    inRun(store);
    store.close();
    return [store.id, event?.type === 'store_id_changed' ? event.code : null];
  }
  const copyToBackup = (): void => cpSync(state, backup, { recursive: true, preserveTimestamps: true });
  const expectUnique = (): void => expect(new Set(names.values()).size).toBe(names.size);

  it('stays the same over restarts, a moved directory and changed permissions, and is in each record and event', () => {
    const first = run();
    expect(first).toEqual([expect.stringMatching(/^[0-9a-f-]{36}$/), null]);
    expect(run()).toEqual(first);
    renameSync(state, backup);
    renameSync(backup, state);
    for (const name of readdirSync(state)) chmodSync(join(state, name), 0o640);
    expect(run((store) => store.raise(EVENT))).toEqual(first);
    expect(run()).toEqual(first);
    expectUnique();
  });

  it('changes once when the directory is replaced by a copy that was made in use', () => {
    const [first] = run(copyToBackup);
    run();
    rmSync(state, { recursive: true });
    renameSync(backup, state);
    const [second, reason] = run();
    expect([reason, second === first]).toEqual(['copied', false]);
    expect(run()[0]).toBe(second);
    expectUnique();
  });

  it('changes when a copy overwrites the files, even soon after it was made', () => {
    const [first] = run(copyToBackup);
    for (const name of readdirSync(backup))
      writeFileSync(join(state, name), readFileSync(join(backup, name)));
    const [second, reason] = run();
    expect([reason, second === first]).toEqual(['copied', false]);
    expectUnique();
  });

  it('changes when the database alone is restored', () => {
    const [first] = run();
    copyToBackup();
    run();
    cpSync(join(backup, DATABASE), join(state, DATABASE));
    const [second, reason] = run();
    expect([reason, second === first]).toEqual(['database_replaced', false]);
    expectUnique();
  });

  it('changes in the copy and not in the original', () => {
    const [first] = run();
    copyToBackup();
    const [copied, reason] = run(undefined, backup);
    expect([reason, copied === first]).toEqual(['copied', false]);
    expect(run()).toEqual([first, null]);
    expectUnique();
  });

  it('changes on other hardware, and not when some or all of it is unknown', () => {
    const [first] = run();
    hardware = { machine: ['serial-1'], disk: null };
    expect(run()).toEqual([first, null]);
    hardware = { machine: [], disk: 'cid-2' };
    expect(run()).toEqual([first, null]);
    hardware = { machine: ['serial-2'], disk: 'cid-3' };
    const [second, reason] = run();
    expect([reason, second === first]).toEqual(['other_disk', false]);
    hardware = { machine: ['serial-3'], disk: 'cid-3' };
    const [third, otherReason] = run();
    expect([otherReason, third === second]).toEqual(['other_machine', false]);
    expectUnique();
  });

  it('changes when the file of the sequence numbers is deleted, the step after the restore of a disk image', () => {
    const [first] = run();
    rmSync(join(state, SIDE_FILE));
    const [second, reason] = run();
    expect([reason, second === first]).toEqual(['file_missing', false]);
  });

  it('stays the same where the time of creation is unknown, and after a version that wrote the inode number instead', () => {
    const [first] = run();
    const file = statSync(join(state, SIDE_FILE), { bigint: true });
    const program = statSync(process.execPath, { bigint: true });
    expect(createdOf(file, program)).toBe(`t${file.birthtimeNs}`);
    // FAT, NFS and old ext3 file systems; a kernel before 4.11.
    expect(createdOf({ ...file, birthtimeNs: 0n }, program)).toBe('');
    expect(createdOf(file, { ...program, birthtimeNs: program.ctimeNs })).toBe('');
    for (const created of ['', 'i1']) {
      const text = readFileSync(join(state, SIDE_FILE), 'utf8');
      writeFileSync(join(state, SIDE_FILE), text.replace(/"created":"t\d+"/, `"created":"${created}"`));
      expect(run()).toEqual([first, null]);
    }
    expectUnique();
  });

  it('continues with a new database, and after a run of an older version of the agent', () => {
    const [first] = run();
    rmSync(join(state, DATABASE));
    expect(run()).toEqual([first, null]);
    const marks = JSON.parse(readFileSync(join(state, SIDE_FILE), 'utf8')) as Record<string, unknown>;
    delete marks['store'];
    writeFileSync(join(state, SIDE_FILE), JSON.stringify(marks));
    expect(run()).toEqual([first, null]);
    expectUnique();
  });
});

const EVENT = { type: 'test', severity: 'info', code: 'test', message: '', context: {} } as const;
