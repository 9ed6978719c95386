"""Real tasks, each written once as a batch of arrays and worn as ``Env``, ``VectorEnv`` and :class:`PerfectModel`.

See :class:`~imagine_envs.tasks.task.BatchedTask` for what a new task has to bring.
"""

from imagine_envs.tasks.batch import TaskBatch, task_of
from imagine_envs.tasks.env import TaskEnv
from imagine_envs.tasks.task import BatchedTask, State
from imagine_envs.tasks.vector_env import TaskVectorEnv

__all__ = ["BatchedTask", "State", "TaskBatch", "TaskEnv", "TaskVectorEnv", "task_of"]
