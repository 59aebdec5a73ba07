from celery import Celery

app = Celery("phone", broker="redis://redis:6379/0", include=["phone.tasks.jobs"])
app.conf.task_acks_late = True
