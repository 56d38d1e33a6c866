import { onUser, page, type Actions, type Call } from '../action.js';
import { noSuchEntity, validationError } from '../aws-error.js';
import type { AccessKey } from '../entities.js';
import { rules } from '../parameters.js';

const statusOf = ({ active }: AccessKey) => (active ? 'Active' : 'Inactive');
const keyId = (call: Call) => call.parameters.required('AccessKeyId', rules.key);

/** Access keys of users. */
export const accessKeyActions: Actions = {
  CreateAccessKey: onUser((call) => {
    const user = call.user();
    const key = call.account.createAccessKey(user, { settled: false });
    return {
      AccessKey: {
        UserName: user.name,
        AccessKeyId: key.id,
        Status: statusOf(key),
        SecretAccessKey: key.secret,
        CreateDate: new Date(key.createdAt),
      },
    };
  }),

  UpdateAccessKey: onUser((call) => {
    const id = keyId(call);
    const status = call.parameters.required('Status', rules.text);
    if (status !== 'Active' && status !== 'Inactive') {
      throw validationError(
        `1 validation error detected: Value '${status}' at 'status' failed to satisfy constraint: Member must satisfy enum value set: [Active, Inactive]`,
      );
    }
    const user = call.user();
    call.account.existingAccessKey(user, id).active = status === 'Active';
    call.account.saveUser(user);
    return {};
  }),

  DeleteAccessKey: onUser((call) => {
    const id = keyId(call);
    call.account.deleteAccessKey(call.user(), id);
    return {};
  }),

  ListAccessKeys: onUser((call) => {
    const user = call.user();
    const listed = user.accessKeys.filter((key) => call.world.faults.isListed(key));
    return page(
      call,
      'AccessKeyMetadata',
      listed,
      ({ id }) => id,
      (key) => ({
        UserName: user.name,
        AccessKeyId: key.id,
        Status: statusOf(key),
        CreateDate: new Date(key.createdAt),
      }),
    );
  }),

  GetAccessKeyLastUsed: {
    // A key that is not there has no owner: only who may ask about every user learns that.
    resource: (call) => {
      const user = ownerOf(call)?.user;
      return user ? call.account.arn('user', user.path, user.name) : call.account.arn('user', '/', '*');
    },
    run: (call) => {
      const holder = ownerOf(call);
      if (!holder) throw noSuchEntity(`The Access Key with id ${keyId(call)} cannot be found.`);
      const { lastUsed } = holder.key;
      return {
        UserName: holder.user.name,
        AccessKeyLastUsed: {
          LastUsedDate: lastUsed && new Date(lastUsed.at),
          ServiceName: lastUsed?.service ?? 'N/A',
          Region: lastUsed?.region ?? 'N/A',
        },
      };
    },
  },
};

function ownerOf(call: Call) {
  const holder = call.world.keyHolder(keyId(call));
  return holder?.account === call.account && holder.user.accessKeys.includes(holder.key) ? holder : undefined;
}
