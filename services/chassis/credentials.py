"""Which credentials a deployment lacks, by the names of environment variables; their values are never read."""

from collections.abc import Mapping

from services.chassis.deployments import Deployment, reference
from services.chassis.litellm_deployments import LOCAL

__all__ = ["CLOUDS", "missing"]

# Clouds whose credentials are no single key. One of these must be there: a parameter of the deployment, or a variable
# of the environment, which is LiteLLM's and boto3's own.
CLOUDS: Mapping[str, tuple[frozenset[str], frozenset[str]]] = {
    "azure": (
        frozenset(("azure_ad_token", "client_secret")),
        frozenset(("AZURE_AD_TOKEN", "AZURE_CLIENT_SECRET")),
    ),
    "bedrock": (
        frozenset(("aws_access_key_id", "aws_profile_name", "aws_role_name", "aws_web_identity_token")),
        frozenset(
            """
            AWS_ACCESS_KEY_ID AWS_PROFILE AWS_ROLE_ARN AWS_WEB_IDENTITY_TOKEN_FILE AWS_BEARER_TOKEN_BEDROCK
            AWS_CONTAINER_CREDENTIALS_RELATIVE_URI AWS_CONTAINER_CREDENTIALS_FULL_URI
            """.split()
        ),
    ),
    "vertex_ai": (
        frozenset(("vertex_credentials",)),
        frozenset(("GOOGLE_APPLICATION_CREDENTIALS", "VERTEXAI_CREDENTIALS")),
    ),
}
# What to name where no key is configured: the variable that most people set.
_NAMED: Mapping[str, str] = {"bedrock": "AWS_PROFILE", "vertex_ai": "GOOGLE_APPLICATION_CREDENTIALS"}


def missing(deployment: Deployment, environ: Mapping[str, str]) -> str:
    """The variable without which a deployment cannot be called and that is not set; empty where all is there."""
    address = deployment.api_base or environ.get(deployment.api_base_ref, "")
    if deployment.api_base_ref and not address:
        return deployment.api_base_ref
    if deployment.key_in_file or environ.get(deployment.key_ref) or _has_credentials(deployment, environ):
        return ""
    if not deployment.key_ref and (address or deployment.provider in LOCAL):
        return ""
    return deployment.key_ref or _NAMED.get(deployment.provider, "api_key")


def _has_credentials(deployment: Deployment, environ: Mapping[str, str]) -> bool:
    """Whether a cloud's own credentials stand in for a key."""
    parameters, variables = CLOUDS.get(deployment.provider, (frozenset(), frozenset()))
    given = (deployment.params[name] for name in parameters & deployment.params.keys())
    return any(environ.get(reference(one)) if reference(one) else one for one in given) or any(
        environ.get(name) for name in variables
    )
