import { describe, expect, it } from '@jest/globals';
import { AwsError } from './aws-error.js';
import { errorXml, successXml } from './xml.js';

describe('an answer', () => {
  it('wraps its result as the query protocol does, lists as members, nothing for what is unset', () => {
    const result = { Names: ['a', 'b'], When: new Date(1_700_000_000_999), Marker: undefined, Empty: [], More: false };
    expect(successXml('ListNames', 'urn:x', result, 'id-1')).toBe(
      '<ListNamesResponse xmlns="urn:x"><ListNamesResult><Names><member>a</member><member>b</member></Names>' +
        '<When>2023-11-14T22:13:20Z</When><Empty></Empty><More>false</More></ListNamesResult>' +
        '<ResponseMetadata><RequestId>id-1</RequestId></ResponseMetadata></ListNamesResponse>',
    );
  });

  it('lets no text break out of its element', () => {
    const error = new AwsError('ValidationError', `Value '</Message>&"' is wrong`);
    expect(errorXml(error, 'urn:x', 'id-1')).toContain(
      `<Message>Value '&lt;/Message&gt;&amp;&quot;' is wrong</Message>`,
    );
  });
});
