import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { tempDir } from '../../fixtures/store.ts';
import { listForeignVariables } from '../../../src/config/sources.ts';
import { loadContainerSettings, readRootFile } from './files.ts';

interface Probe {
  readonly httpGet: { readonly path: string; readonly port: string };
  readonly periodSeconds: number;
  readonly failureThreshold?: number;
}

interface Mount {
  readonly name: string;
  readonly mountPath: string;
}

interface AgentContainer {
  readonly image: string;
  readonly ports: readonly { readonly name: string; readonly containerPort: number }[];
  readonly startupProbe: Probe;
  readonly livenessProbe: Probe;
  readonly readinessProbe: Probe;
  readonly securityContext: Readonly<Record<string, unknown>>;
  readonly volumeMounts: readonly Mount[];
}

interface Pod {
  readonly enableServiceLinks: boolean;
  readonly securityContext: Readonly<Record<string, unknown>>;
  readonly containers: readonly [AgentContainer];
  readonly volumes: readonly { readonly name: string }[];
}

type Resource =
  | { readonly kind: 'ConfigMap'; readonly data: Readonly<Record<string, string>> }
  | { readonly kind: 'Service' }
  | {
      readonly kind: 'StatefulSet';
      readonly metadata: { readonly name: string };
      readonly spec: {
        readonly replicas: number;
        readonly template: { readonly spec: Pod };
        readonly volumeClaimTemplates: readonly { readonly metadata: { readonly name: string } }[];
      };
    };

const documents = parseAllDocuments(readRootFile('config/kubernetes.yaml'));
const resources = documents.map((document) => document.toJS() as Resource);
const set = resources.find((resource) => resource.kind === 'StatefulSet');
const map = resources.find((resource) => resource.kind === 'ConfigMap');
const pod = set?.spec.template.spec;
const container = pod?.containers[0];
const dir = tempDir();
afterAll(() => dir.remove());

describe('config/kubernetes.yaml', () => {
  it('has no fault of YAML', () => {
    expect(documents.flatMap(({ errors, warnings }) => [...errors, ...warnings])).toEqual([]);
    expect(resources.map(({ kind }) => kind)).toEqual(['ConfigMap', 'Service', 'StatefulSet']);
  });

  it('has a configuration that the agent accepts, with the name of the pod as user name', () => {
    const [name = '', text = ''] = Object.entries(map?.data ?? {})[0] ?? [];
    mkdirSync(join(dir.path, 'swellsight'));
    for (const secret of ['mqtt-password', 'http-token'])
      writeFileSync(join(dir.path, 'swellsight', secret), 'a-secret-of-the-test');
    const file = join(dir.path, name);
    writeFileSync(file, text.replaceAll('/run/secrets', dir.path));
    const settings = loadContainerSettings({ SWELLSIGHT_STATE_DIR: dir.path }, file);
    expect(settings.mqtt.username).toBe(`${set?.metadata.name}-0`);
    expect(settings.http).toMatchObject({ host: '0.0.0.0', port: container?.ports[0]?.containerPort });
    expect(settings.http.token).toBe('a-secret-of-the-test');
    // The path in the image, see Dockerfile.arm64.
    expect(readRootFile('Dockerfile.arm64')).toContain(`SWELLSIGHT_CONFIG=/etc/swellsight/${name}`);
  });

  it('has three probes on paths that need no token', () => {
    const { paths } = JSON.parse(readRootFile('docs/generated/openapi.json')) as {
      paths: Record<string, unknown>;
    };
    expect([container?.startupProbe, container?.livenessProbe, container?.readinessProbe]).toMatchObject([
      { httpGet: { path: '/live', port: 'http' } },
      { httpGet: { path: '/live', port: 'http' } },
      { httpGet: { path: '/ready', port: 'http' } },
    ]);
    expect(Object.keys(paths)).toEqual(expect.arrayContaining(['/live', '/ready']));
    const { periodSeconds = 0, failureThreshold = 0 } = container?.startupProbe ?? {};
    expect(periodSeconds * failureThreshold).toBeGreaterThanOrEqual(120);
  });

  it('runs as the user of the image, without privileges, with a read-only root', () => {
    expect(readRootFile('Dockerfile.arm64')).toContain(`USER ${String(pod?.securityContext['runAsUser'])}:`);
    expect(pod?.securityContext).toMatchObject({
      runAsNonRoot: true,
      fsGroup: pod?.securityContext['runAsGroup'],
    });
    expect(container?.securityContext).toEqual({
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    });
  });

  it('keeps the variables of service links away, about which the agent would warn', () => {
    expect(pod?.enableServiceLinks).toBe(false);
    expect(listForeignVariables({ SWELLSIGHT_SERVICE_HOST: '10.0.0.1' })).toEqual([
      'SWELLSIGHT_SERVICE_HOST',
    ]);
  });

  it('mounts only volumes that it declares, and the state on its own claim', () => {
    const declared = [
      ...(pod?.volumes ?? []).map(({ name }) => name),
      ...(set?.spec.volumeClaimTemplates ?? []).map(({ metadata }) => metadata.name),
    ];
    expect(container?.volumeMounts.map(({ name }) => name).toSorted()).toEqual(declared.toSorted());
    expect(container?.volumeMounts).toContainEqual({ name: 'state', mountPath: '/var/lib/swellsight' });
    expect(set?.spec.replicas).toBe(1);
  });
});
