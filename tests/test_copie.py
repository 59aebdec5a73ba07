"""The default copy, by pytest-copie, as template authors know it."""

from pytest_copie.plugin import Copie
from rendering import Template


def test_default_copy(copie: Copie, template: Template) -> None:
    """No answer given: a service called My Voice."""
    result = copie.copy(template_dir=template.path)

    assert result.exit_code == 0, result.exception
    assert result.project_dir is not None
    assert (result.project_dir / "src/my_voice/speech/answers.py").exists()
    assert result.answers["pricing_tier"] == "creator"
