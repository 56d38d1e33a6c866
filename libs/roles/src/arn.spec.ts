import { describe, expect, it } from '@jest/globals';
import { faultOfIamArn, partitionOf } from './arn.js';

describe('the partition of a region', () => {
  it.each([
    ['us-east-1', 'aws'],
    ['ap-southeast-2', 'aws'],
    ['cn-northwest-1', 'aws-cn'],
    ['us-gov-west-1', 'aws-us-gov'],
    ['us-iso-east-1', 'aws-iso'],
    ['us-isob-east-1', 'aws-iso-b'],
    ['eusc-de-east-1', 'aws-eusc'],
    ['', undefined],
    ['local', undefined],
  ])('of %s is %s', (region, partition) => {
    expect(partitionOf(region)).toBe(partition);
  });
});

describe('the ARN of an IAM policy or role', () => {
  it.each<[string, 'policy' | 'role', string | undefined]>([
    ['arn:aws:iam::aws:policy/ReadOnlyAccess', 'policy', 'aws'],
    ['arn:aws:iam::aws:policy/job-function/Billing', 'policy', undefined],
    ['arn:aws-cn:iam::123456789012:policy/team/a+b=c,d.e@f-g', 'policy', 'aws-cn'],
    ['arn:aws-us-gov:iam::123456789012:role/service-role/x', 'role', 'aws-us-gov'],
  ])('%s is taken', (arn, kind, partition) => {
    expect(faultOfIamArn(arn, kind, partition)).toBeNull();
  });

  it.each<[string, 'policy' | 'role', string]>([
    ['ReadOnlyAccess', 'policy', 'arn: invalid prefix'],
    ['arn:aws:iam', 'policy', 'arn: not enough sections'],
    ['arn:aws:s3:::bucket', 'policy', 'expected a service of iam but got s3'],
    ['arn:aws:iam::123456789012:user/x', 'role', 'expected a resource type of role but got user/x'],
    ['arn:aws:iam::123456789012:role/x', 'policy', 'expected a resource type of policy but got role/x'],
    ['arn:aws-cn:iam::123456789012:role/x', 'role', 'expected the partition of the mount, aws, but got aws-cn'],
    ['arn:aws:iam::12345:role/x', 'role', 'expected an account of 12 digits but got 12345'],
    ['arn:aws:iam::aws:role/x', 'role', 'expected an account of 12 digits but got aws'],
    ['arn:aws:iam::123456789012:role/', 'role', 'expected the name of a role but got role/'],
    ['arn:aws:iam::123456789012:policy/a b', 'policy', 'expected the name of a policy but got policy/a b'],
    [
      'arn:aws:iam::123456789012:policy/{{ .DisplayName }}',
      'policy',
      'expected the name of a policy but got policy/{{ .DisplayName }}',
    ],
  ])('%s is refused as a %s', (arn, kind, fault) => {
    expect(faultOfIamArn(arn, kind, 'aws')).toBe(fault);
  });
});
