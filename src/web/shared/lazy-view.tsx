import { Component, type ComponentChildren, type ComponentType } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { text } from './text.ts';

/** A view whose code is loaded when it is first shown. */
export function lazyView(load: () => Promise<ComponentType>): ComponentType {
  let loading: Promise<ComponentType> | null = null;
  return function LazyView() {
    const [View, setView] = useState<ComponentType | null>(null);
    const [failure, setFailure] = useState<unknown>(null);
    useEffect(() => {
      loading ??= load();
      loading.then(
        (component) => setView(() => component),
        (thrown: unknown) => {
          loading = null;
          setFailure(thrown);
        },
      );
    }, []);
    if (failure !== null) return <FailedView />;
    return View === null ? null : <View />;
  };
}

/** Shows a message where a view throws, so that the rest of the page still works. */
export class FailureBoundary extends Component<
  { readonly children: ComponentChildren },
  { failed: boolean }
> {
  override state = { failed: false };

  static override getDerivedStateFromError(): { failed: boolean } {
    return { failed: true };
  }

  override render(): ComponentChildren {
    return this.state.failed ? <FailedView /> : this.props.children;
  }
}

function FailedView() {
  return (
    <div class="note bad" role="alert">
      <p>{text.error.title}</p>
      <button type="button" onClick={() => location.reload()}>
        {text.error.retry}
      </button>
    </div>
  );
}
