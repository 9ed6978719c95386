"""ImaginationTrainer: any stock algorithm, trained in dreams of a world that is learned along the way."""

from imagine_agents.imagination_trainer.imagination_trainer import ImaginationTrainer
from imagine_agents.imagination_trainer.validation import MemberValidation

__all__ = ["ImaginationTrainer", "MemberValidation"]
