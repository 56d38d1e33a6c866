/** A refusal in AWS's own words: code, message and HTTP status as the query protocol carries them. */
export class AwsError extends Error {
  constructor(
    readonly code: string,
    message: string,
    readonly status = 400,
  ) {
    super(message);
    this.name = code;
  }
}

export const noSuchEntity = (message: string) => new AwsError('NoSuchEntity', message, 404);
export const entityAlreadyExists = (message: string) => new AwsError('EntityAlreadyExists', message, 409);
export const limitExceeded = (message: string) => new AwsError('LimitExceeded', message, 409);
export const deleteConflict = (what: string) =>
  new AwsError('DeleteConflict', `Cannot delete entity, must ${what} first.`, 409);
export const malformedPolicy = (message: string) => new AwsError('MalformedPolicyDocument', message);
export const validationError = (message: string) => new AwsError('ValidationError', message);
export const accessDenied = (message: string) => new AwsError('AccessDenied', message, 403);
export const invalidToken = () =>
  new AwsError('InvalidClientTokenId', 'The security token included in the request is invalid.', 403);
