import { describe, expect, it } from 'vitest';
import { readLabels } from '../../../../src/cli/calibrate/csv.ts';

describe('readLabels', () => {
  it('takes columns in any order, quoted commas, quotes and line breaks, CRLF and a byte order mark', () => {
    const { rows, refused } = readLabels(
      '\ufeffheight_m,note,File,extra,burst,camera,group\r\n' +
        '0.4,"Small, ""clean""\nlow tide",a.jpg,x,1,A,g1\r\n' +
        '\r\n' +
        '1,,b.jpg,,2,A,\r\n',
    );
    expect(refused).toEqual([]);
    expect(rows).toEqual([
      {
        file: 'a.jpg',
        camera: 'A',
        burst: '1',
        group: 'g1',
        heightM: 0.4,
        note: 'Small, "clean"\nlow tide',
        line: 2,
      },
      { file: 'b.jpg', camera: 'A', burst: '2', group: '2', heightM: 1, note: null, line: 5 },
    ]);
  });

  it('makes do with file and height alone: each frame is a burst of its own', () => {
    expect(readLabels('file,height_m\na.jpg,0.5\nb.jpg,0').rows).toMatchObject([
      { camera: 'camera', burst: 'a.jpg', group: 'a.jpg', heightM: 0.5 },
      { camera: 'camera', burst: 'b.jpg', group: 'b.jpg', heightM: 0 },
    ]);
  });

  it('names the rows that it cannot use', () => {
    const { rows, refused } = readLabels(
      'file,height_m\na.jpg,\n,1\nb.jpg,tall\nc.jpg,-1\nd.jpg,1e999\ne.jpg',
    );
    expect(rows).toEqual([]);
    expect(refused.map(({ line }) => line)).toEqual([2, 3, 4, 5, 6, 7]);
  });

  it.each(['', 'a,b\n1,2', 'file\na.jpg', 'height_m\n1'])(
    'refuses a file without its columns: %j',
    (text) => {
      expect(() => readLabels(text)).toThrow(expect.objectContaining({ code: 'usage' }) as Error);
    },
  );
});
