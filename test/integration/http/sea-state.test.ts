import { describe, expect, it } from 'vitest';
import { AgentError } from '../../../src/base/errors.ts';
import { isoTime, systemClock } from '../../../src/base/clock.ts';
import { createAgentApi, type AgentApiParts, type SeaStateClips } from '../../../src/control/agent-api.ts';
import type { AgentApi } from '../../../src/contract/api.ts';
import type { SeaStateRecord } from '../../../src/contract/sea-state.ts';
import { CannedAgent } from '../../fixtures/agent-api.ts';
import { expectProblem, startServer } from '../../fixtures/http-server.ts';
import { seaStateDraft } from '../../fixtures/store.ts';
import { useStore } from '../../fixtures/use-store.ts';

const PATH = '/api/v1/cameras/north/sea-state';
const PNG = Uint8Array.of(0x89, 0x50, 0x4e, 0x47);

describe('/api/v1/cameras/{id}/sea-state', () => {
  const state = useStore({}, { inMemory: true });

  async function serve(clips?: SeaStateClips) {
    const runners = new Map(['north', 'south'].map((id) => [id, { id }]));
    const parts = {
      clock: systemClock,
      store: state.store,
      cameras: { runners },
      ...(clips ? { clips } : {}),
    };
    const real: AgentApi = createAgentApi(parts as unknown as AgentApiParts);
    const api: AgentApi = Object.assign(new CannedAgent(), {
      measureSeaState: (...args: Parameters<AgentApi['measureSeaState']>) => real.measureSeaState(...args),
      seaStates: (...args: Parameters<AgentApi['seaStates']>) => real.seaStates(...args),
      seaStatePicture: (...args: Parameters<AgentApi['seaStatePicture']>) => real.seaStatePicture(...args),
    });
    return startServer({ rateLimit: 100_000 }, { api });
  }
  /** Clips one minute apart, oldest first. */
  const append = (count: number, camera = 'north'): SeaStateRecord[] =>
    Array.from({ length: count }, (_, n) =>
      state.store.appendSeaState(seaStateDraft({ camera, captured_at: isoTime(n * 60_000) })),
    );

  it('pages through 1,000 records, each once, newest first, and has all of them as a table', async () => {
    const records = append(1000);
    append(3, 'removed');
    const { ask } = await serve();
    const ids: string[] = [];
    for (let cursor: string | null = ''; cursor !== null;) {
      const answer = (await ask('GET', `${PATH}?limit=300${cursor && `&cursor=${cursor}`}`)).json();
      ids.push(...(answer['sea_states'] as SeaStateRecord[]).map(({ id }) => id));
      cursor = answer['cursor'] as string | null;
    }
    expect(ids).toEqual(records.map(({ id }) => id).toReversed());
    const { text, headers } = await ask('GET', `${PATH}.csv`);
    expect(headers['content-type']).toContain('text/csv');
    const lines = text.trimEnd().split('\r\n');
    expect(lines).toHaveLength(1001);
    const table = (line: number) => lines[line]?.split(',') ?? [];
    expect(table(1)[table(0).indexOf('period_s')]).toBe('13.7');
    const range = `from=${isoTime(60_000)}&to=${isoTime(180_000)}`;
    expect((await ask('GET', `${PATH}?${range}`)).json()['sea_states']).toHaveLength(2);
    expect((await ask('GET', `${PATH}.csv?${range}`)).text.trimEnd().split('\r\n')).toHaveLength(3);
    // A removed camera keeps its history.
    const removed = await ask('GET', '/api/v1/cameras/removed/sea-state');
    expect(removed.json()['sea_states']).toHaveLength(3);
  });

  it('refuses what it cannot answer with a clear problem', async () => {
    const { ask } = await serve();
    expectProblem(await ask('GET', '/api/v1/cameras/none/sea-state'), 404, 'camera_unknown');
    expectProblem(await ask('GET', '/api/v1/cameras/none/sea-state.csv'), 404, 'camera_unknown');
    expectProblem(await ask('GET', `${PATH}?cursor=nonsense`), 400, 'usage');
    expectProblem(await ask('GET', `${PATH}?limit=0`), 400, 'request_invalid');
    expectProblem(await ask('GET', `${PATH}?status=measured`), 400, 'request_invalid');
    expectProblem(await ask('GET', `${PATH}?from=${isoTime(9)}&to=${isoTime(1)}`), 400, 'request_invalid');
    expectProblem(await ask('POST', `${PATH}?durationS=5`), 400, 'request_invalid');
    expectProblem(await ask('POST', PATH), 409, 'sea_state_unavailable');
    expectProblem(await ask('POST', '/api/v1/cameras/none/sea-state'), 404, 'camera_unknown');
  });

  it('has the pictures that were kept, by the id of a record of this camera or as the latest', async () => {
    const [old, newest] = append(2);
    const [other] = append(1, 'south');
    const asked: string[] = [];
    const { ask } = await serve({
      measure: () => Promise.reject(new Error('not used')),
      picture: ({ id }, picture) => {
        asked.push(id);
        return Promise.resolve(id === newest!.id && picture === 'spectrum' ? PNG : null);
      },
    });
    for (const id of [newest!.id, 'latest']) {
      const { status, headers, body } = await ask('GET', `${PATH}/${id}/spectrum.png`);
      expect([status, headers['content-type'], [...body]]).toEqual([200, 'image/png', [...PNG]]);
    }
    expectProblem(await ask('GET', `${PATH}/${newest!.id}/timestack.png`), 404, 'sea_state_picture_missing');
    expectProblem(await ask('GET', `${PATH}/${old!.id}/spectrum.png`), 404, 'sea_state_picture_missing');
    const known = asked.length;
    for (const id of [other!.id, 'nonsense', '..%2f..%2fetc%2fpasswd', '%00', "'%20OR%201=1--"])
      expectProblem(await ask('GET', `${PATH}/${id}/spectrum.png`), 404, 'sea_state_unknown');
    expectProblem(
      await ask('GET', `/api/v1/cameras/none/sea-state/latest/spectrum.png`),
      404,
      'camera_unknown',
    );
    expectProblem(await ask('GET', `${PATH}/${'a'.repeat(65)}/spectrum.png`), 400, 'request_invalid');
    // Only ids of stored records reach the files.
    expect(asked).toHaveLength(known);
  });

  it('measures one clip on request', async () => {
    const durations: (number | null)[] = [];
    let isBusy = false;
    const { ask } = await serve({
      measure: (camera, durationS) => {
        durations.push(durationS);
        if (isBusy) return Promise.reject(new AgentError('sea_state_busy', 'a clip is being taken'));
        return Promise.resolve(state.store.appendSeaState(seaStateDraft({ camera })));
      },
      picture: () => Promise.resolve(null),
    });
    expect((await ask('POST', PATH)).json()).toMatchObject({ camera: 'north', seq: 1, status: 'measured' });
    expect((await ask('POST', `${PATH}?durationS=300`)).json()).toMatchObject({ seq: 2 });
    expect(durations).toEqual([null, 300]);
    isBusy = true;
    const busy = await ask('POST', PATH);
    expectProblem(busy, 503, 'sea_state_busy');
    expect(busy.headers['retry-after']).toBe('5');
  });
});
