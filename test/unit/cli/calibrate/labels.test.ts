import { describe, expect, it } from 'vitest';
import { parseLabels } from '../../../../src/cli/calibrate/labels.ts';

describe('parseLabels', () => {
  it('accepts columns in any order, quoted commas, quotes and line breaks, CRLF and a byte order mark', () => {
    const { rows, refused } = parseLabels(
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
        ...{ reading: null, tideM: null, observer: null },
        note: 'Small, "clean"\nlow tide',
        line: 2,
      },
      {
        ...{ file: 'b.jpg', camera: 'A', burst: '2', group: '2', heightM: 1, note: null, line: 5 },
        ...{ reading: null, tideM: null, observer: null },
      },
    ]);
  });

  it('makes each frame a burst when there are only the columns file and height_m', () => {
    expect(parseLabels('file,height_m\na.jpg,0.5\nb.jpg,0').rows).toMatchObject([
      { camera: 'camera', burst: 'a.jpg', group: 'a.jpg', heightM: 0.5 },
      { camera: 'camera', burst: 'b.jpg', group: 'b.jpg', heightM: 0 },
    ]);
  });

  it('converts heights of other units and scales, and keeps what was read', () => {
    const { rows, refused } = parseLabels(
      'file,height,unit,scale,observer,tide_m\na.jpg,3,ft,hawaiian,ana,-0.4\nb.jpg,1.5,,,,\nc.jpg,4,yd,,,\nd.jpg,1,,,,low',
    );
    expect(rows).toMatchObject([
      { heightM: 1.829, reading: { height: 3, unit: 'ft', scale: 'hawaiian' }, observer: 'ana', tideM: -0.4 },
      { heightM: 1.5, reading: { height: 1.5, unit: 'm', scale: 'face' }, observer: null, tideM: null },
    ]);
    expect(refused.map(({ line }) => line)).toEqual([4, 5]);
  });

  it('makes a group of each day, or of each half metre of tide', () => {
    const text =
      'file,height_m,group,day,tide_m\na,1,x,1 May,0.1\nb,1,x,1 May,0.7\nc,1,x,2 May,0.4\nd,1,x,,\n';
    const groups = (holdOut: 'group' | 'day' | 'tide') =>
      parseLabels(text, holdOut).rows.map(({ group }) => group);
    expect(groups('group')).toEqual(['x', 'x', 'x', 'x']);
    expect(groups('day')).toEqual(['1 May', '1 May', '2 May']);
    expect(groups('tide')).toEqual(['tide 0', 'tide 1', 'tide 0']);
    expect(parseLabels(text, 'tide').refused).toEqual([{ line: 5, why: 'no tide' }]);
    expect(() => parseLabels('file,height_m\na,1', 'day')).toThrow(/day/);
  });

  it('reports unusable rows by line', () => {
    const { rows, refused } = parseLabels(
      'file,height_m\na.jpg,\n,1\nb.jpg,tall\nc.jpg,-1\nd.jpg,1e999\ne.jpg',
    );
    expect(rows).toEqual([]);
    expect(refused.map(({ line }) => line)).toEqual([2, 3, 4, 5, 6, 7]);
  });

  it('accepts a quote inside of a cell, and blank lines', () => {
    const { rows, refused } = parseLabels('file,height_m,note\n\n  \na.jpg,1,5" of rain\n');
    expect(refused).toEqual([]);
    expect(rows).toMatchObject([{ file: 'a.jpg', heightM: 1, note: '5" of rain', line: 4 }]);
  });

  it('reports the first line of a row whose quote is not closed', () => {
    const { rows, refused } = parseLabels('file,height_m\na.jpg,1\n"b.jpg,2\nc.jpg,3\n');
    expect(rows).toMatchObject([{ file: 'a.jpg' }]);
    expect(refused).toEqual([{ line: 3, why: 'a quote is not closed' }]);
  });

  it('counts the lines of a quoted cell with CRLF', () => {
    const { rows } = parseLabels('file,height_m,note\r\na.jpg,1,"x\r\ny"\r\nb.jpg,2,\r\n');
    expect(rows.map(({ line }) => line)).toEqual([2, 4]);
  });

  it.each(['', 'a,b\n1,2', 'file\na.jpg', 'height_m\n1'])(
    'throws for a file without its required columns: %j',
    (text) => {
      expect(() => parseLabels(text)).toThrow(expect.objectContaining({ code: 'usage' }) as Error);
    },
  );
});
