import Database from 'better-sqlite3';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { reasonsOf, RunningAgent } from '../fixtures/agent.ts';
import { httpServer, type TestServer } from '../fixtures/camera-server.ts';
import { Mosquitto, type Message } from '../fixtures/mosquitto.ts';
import { Recorder } from '../fixtures/recorder.ts';
import { RtspServer } from '../fixtures/rtsp.ts';
import { surfcamDir } from '../fixtures/surfcam.ts';

const frames = surfcamDir();
const WANTED = 4;

/** Real beach frames through a real RTSP server, an HTTP snapshot and a folder; a real broker with TLS and passwords. */
describe.skipIf(frames === null)(
  'three real cameras, one agent, one broker (needs the real beach frames)',
  () => {
    const dir = mkdtempSync(join(tmpdir(), 'swellsight-real-'));
    let broker: Mosquitto;
    let rtsp: RtspServer;
    let snapshots: TestServer;
    let agent: RunningAgent;
    let recorder: Recorder;
    let messages: readonly Message[];

    beforeAll(async () => {
      const source = join(frames ?? '', 'frames');
      const files = readdirSync(source).sort();
      const some = (from: number, count: number): string[] => files.slice(from, from + count);
      const clip = join(dir, 'clip');
      const folder = join(dir, 'folder');
      for (const made of [clip, folder]) mkdirSync(made);
      for (const name of some(60, 12)) symlinkSync(join(source, name), join(clip, name));
      for (const name of some(200, 12)) writeFileSync(join(folder, name), readFileSync(join(source, name)));
      let served = 0;
      const pictures = some(120, 20).map((name) => readFileSync(join(source, name)));
      snapshots = await httpServer((request, response) => {
        const wanted = `Basic ${Buffer.from('cam:s3cret').toString('base64')}`;
        if (request.headers.authorization !== wanted) {
          response.writeHead(401, { 'www-authenticate': 'Basic realm="cam"' }).end();
          return;
        }
        response.writeHead(200, { 'content-type': 'image/jpeg' }).end(pictures[served++ % pictures.length]);
      });
      rtsp = await RtspServer.start({
        dir: clip,
        fps: 5,
        hold: 5,
        size: { width: 1280, height: 720 },
        credentials: { username: 'viewer', password: 'w4ves' },
      });
      broker = await Mosquitto.start({ tls: true, users: { device: 'from a file', dashboard: 'd' } });
      recorder = await Recorder.start(broker.url, {
        username: 'dashboard',
        password: 'd',
        ca: broker.ca ?? '',
      });
      messages = recorder.messages;
      writeFileSync(join(dir, 'password'), 'from a file\n');
      writeFileSync(join(dir, 'ca.pem'), broker.ca ?? '');
      const schedule = { everyS: 3 };
      const burst = { frames: 2, intervalS: 1 };
      agent = await RunningAgent.start({
        mqtt: {
          url: broker.url,
          username: 'device',
          password_file: join(dir, 'password'),
          ca: join(dir, 'ca.pem'),
        },
        heartbeat: { intervalS: 5 },
        cameras: [
          { id: 'rtsp', kind: 'rtsp', url: rtsp.url, username: 'viewer', password: 'w4ves', schedule, burst },
          {
            id: 'http',
            kind: 'http',
            url: `${snapshots.url}/snapshot.jpg`,
            username: 'cam',
            password: 's3cret',
            schedule,
            burst,
          },
          { id: 'folder', kind: 'directory', path: folder, replay: 'loop', schedule, burst },
        ],
      });
      for (const camera of ['rtsp', 'http', 'folder'])
        await agent.observation((line) => line['camera'] === camera && Number(line['seq']) >= WANTED, 60_000);
    }, 240_000);

    afterAll(async () => {
      await agent[Symbol.asyncDispose]();
      await Promise.all([rtsp.stop(), snapshots.stop(), broker.stop()]);
      rmSync(dir, { recursive: true, force: true });
    });

    it('measures frames of every camera', () => {
      for (const camera of ['rtsp', 'http', 'folder']) {
        const lines = agent.lines.filter((line) => line.msg === 'observation' && line['camera'] === camera);
        const statuses = lines.map((line) => `${String(line['status'])} ${reasonsOf(line)}`);
        expect(
          statuses.filter((status) => /measured|rejected/.test(status)).length,
          `${camera}: ${statuses.join('; ')}`,
        ).toBeGreaterThanOrEqual(WANTED - 1);
      }
    });

    it('has in SQLite the records that the subscriber received, one for one', async () => {
      await agent.stop();
      const db = new Database(join(agent.stateDir, 'var', 'swellsight.db'), { readonly: true });
      const rows = db.prepare('SELECT payload FROM observations').all() as { payload: string }[];
      const waiting = db.prepare('SELECT count(*) AS n FROM outbox').get() as { n: number };
      db.close();
      const stored = new Map(
        rows.map(({ payload }) => JSON.parse(payload) as { id: string }).map((record) => [record.id, record]),
      );
      const received = messages
        .filter(({ topic }) => /\/(observation|backfill)$/.test(topic))
        .map(
          ({ payload }) =>
            JSON.parse(payload.toString()) as { id: string; published_at: string; historical: boolean },
        );
      expect(received.length).toBeGreaterThanOrEqual(3 * WANTED);
      expect(stored.size - waiting.n).toBeLessThanOrEqual(new Set(received.map(({ id }) => id)).size);
      for (const message of received) {
        const record = stored.get(message.id);
        expect({ ...record, published_at: null, historical: false }).toEqual({
          ...message,
          published_at: null,
          historical: false,
        });
      }
      console.log(
        `${stored.size} records in SQLite, ${received.length} messages received, ${waiting.n} waiting at the stop`,
      );
    });

    it('sends what the contract describes, and no secret', () => {
      recorder.finish();
      const said = agent.raw.join('\n') + messages.map(({ payload }) => payload.toString()).join('\n');
      for (const secret of ['w4ves', 's3cret', 'from a file']) expect(said).not.toContain(secret);
    });

    it('counts each camera by ones', () => {
      for (const camera of ['rtsp', 'http', 'folder']) {
        const seqs = messages
          .filter(({ topic }) => topic.endsWith(`/camera/${camera}/observation`))
          .map(({ payload }) => (JSON.parse(payload.toString()) as { seq: number }).seq);
        expect(seqs).toEqual(seqs.map((_, index) => index + 1));
      }
    });
  },
);
