//! The text form on the quantization proto's schema. Python's tests compare it with the complete
//! implementation.

use proptest::prelude::*;
use prost::Message;
use prost_reflect::Value;
use protox::file::{ChainFileResolver, File, FileResolver};

use super::number::{print_f32, print_f64};
use super::*;

const NET: &str = "tidlq.quantproto.TIDLNetQuantParams";
const TENSOR: &str = "tidlq.quantproto.TidlTensorQuantParams";

/// Schemas by the names under which they import each other.
struct Sources(&'static [(&'static str, &'static str)]);

impl FileResolver for Sources {
    fn open_file(&self, name: &str) -> std::result::Result<File, protox::Error> {
        match self.0.iter().find(|(known, _)| *known == name) {
            Some((_, source)) => File::from_source(name, source),
            None => Err(protox::Error::file_not_found(name)),
        }
    }
}

fn compile(sources: &'static [(&'static str, &'static str)]) -> Vec<Vec<u8>> {
    let mut resolver = ChainFileResolver::new();
    resolver.add(Sources(sources));
    let mut compiler = protox::Compiler::with_file_resolver(resolver);
    compiler.include_imports(true);
    compiler.open_files(sources.iter().map(|(name, _)| name)).unwrap();
    compiler.file_descriptor_set().file.iter().map(Message::encode_to_vec).collect()
}

fn form(message: &str) -> TextForm {
    let files = compile(&[
        (
            "tidlq/quantproto/quant_params.proto",
            include_str!("../../../../proto/quant_params.proto"),
        ),
        (
            "tidlq/quantproto/quant_params_tidlq.proto",
            include_str!("../../../../proto/quant_params_tidlq.proto"),
        ),
    ]);
    TextForm::new(files.iter().map(Vec::as_slice), message).unwrap()
}

fn schema_error(source: &'static [(&'static str, &'static str)], message: &str) -> String {
    let files = compile(source);
    TextForm::new(files.iter().map(Vec::as_slice), message).unwrap_err().to_string()
}

/// What a text says, printed in the one way of printing it.
fn normalized(form: &TextForm, text: &str) -> Option<String> {
    form.to_text(&form.to_binary(text)?)
}

fn printed_f64(value: f64) -> String {
    let mut out = String::new();
    print_f64(&mut out, &mut String::new(), value).unwrap();
    out
}

fn printed_f32(value: f32) -> String {
    let mut out = String::new();
    print_f32(&mut out, &mut String::new(), value).unwrap();
    out
}

#[test]
fn float64_is_printed_as_python_does() {
    for (value, text) in [
        (0.0, "0.0"),
        (-0.0, "-0.0"),
        (1.0, "1.0"),
        (-10.0, "-10.0"),
        (0.1, "0.1"),
        (123.456, "123.456"),
        (1e-4, "0.0001"),
        (0.00012345, "0.00012345"),
        (1e-5, "1e-05"),
        (-1.25e-7, "-1.25e-07"),
        (1e15, "1000000000000000.0"),
        (1234567890123456.0, "1234567890123456.0"),
        (9999999999999998.0, "9999999999999998.0"),
        (1e16, "1e+16"),
        // Exactly between ...062 and ...063.
        (168.799_468_994_140_62, "168.79946899414062"),
        (1.5e100, "1.5e+100"),
        (5e-324, "5e-324"),
        (f64::MAX, "1.7976931348623157e+308"),
        (f64::INFINITY, "inf"),
        (f64::NEG_INFINITY, "-inf"),
        (f64::NAN, "nan"),
    ] {
        assert_eq!(printed_f64(value), text);
    }
}

#[test]
fn float32_is_printed_as_pythons_protobuf_does() {
    for (value, text) in [
        (0.0, "0.0"),
        (-0.0, "-0.0"),
        (0.1, "0.1"),
        (0.999_411_76, "0.99941176"),
        (16_777_216.0, "16777216.0"),
        (-f32::MAX, "-3.4028235e+38"),
        (f32::MIN_POSITIVE, "1.1754944e-38"),
        (f32::from_bits(1), "1.4013e-45"),
        (9.007_812_5, "9.0078125"),
        (f32::INFINITY, "inf"),
        (f32::NAN, "nan"),
    ] {
        assert_eq!(printed_f32(value), text);
    }
}

#[test]
fn plain_text_is_printed_as_it_was() {
    let text = r#"num_layers: 1
quant_type: ASYMMETRIC
layers {
  layer_name: "a\303\244\t\"\\\'\001"
  outputs {
    min: -3.4028235e+38
    max: 6.0
    size: 4294967295
    scale: [42.5, inf, -1e-05]
    zero_point: [0, 4294967293]
    [tidlq.quantproto.tensor_name]: "x"
    [tidlq.quantproto.channel_min]: [-0.0, 1.5]
    [tidlq.quantproto.range_origin]: RANGE_ORIGIN_STATED
  }
  [tidlq.quantproto.parameter_bit_depth]: 16
}
[tidlq.quantproto.provenance] {
  accuracy_level: -1
  options {
    key: "k"
  }
  options {
  }
}
"#;
    assert_eq!(normalized(&form(NET), text).unwrap(), text);
}

#[test]
fn every_common_spelling_is_read() {
    let form = form(NET);
    let net = "num_layers: 2\n";
    for text in [
        "num_layers:2",
        " num_layers :\r\n\t2 ; # comment",
        "# first\nnum_layers: 2,\n#last",
        "num_layers: +2 num_layer",
    ] {
        let read = normalized(&form, text);
        assert_eq!(read.as_deref(), (!text.ends_with("layer")).then_some(net), "{text}");
    }
    let layers = "layers {\n  layer_name: \"ab\"\n}\nlayers {\n}\n";
    for text in [
        "layers { layer_name: \"ab\" } layers { }",
        "layers: < layer_name: 'a' \"b\"; > layers <>",
        "layers [{ layer_name: '\\x61\\142' }, <>]",
        "layers: [{layer_name:'a'\n'b',}], layers{}",
    ] {
        assert_eq!(normalized(&form, text).as_deref(), Some(layers), "{text}");
    }
    let outputs = "layers {\n  outputs {\n    scale: [1.0, 0.5]\n  }\n}\n";
    for text in ["scale: 1 scale: 5e-1", "scale: [1., .5]", "scale: [] scale: [1] scale: +0.5"] {
        let text = format!("layers {{ outputs {{ {text} }} }}");
        assert_eq!(normalized(&form, &text).as_deref(), Some(outputs), "{text}");
    }
}

#[test]
fn what_is_wrong_or_rare_is_refused() {
    let form = form(TENSOR);
    for text in [
        "nothing: 1",
        "min 1",
        "min: ",
        "min: 1 min: 1",
        "min: [1]",
        "min: 1max: 2",
        "min: 1.5max: 2",
        "min: 1,,",
        "min: - 1",
        "min: 01",
        "min: 1_0",
        "min: 1f",
        "min: 0x1",
        "min: nan",
        "min: \"1\"",
        "size: -1",
        "size: 1.0",
        "size: 010",
        "size: 4294967296",
        "scale: [1 2]",
        "scale: [1, ]",
        "scale: [1",
        "scale {1}",
        "[tidlq.quantproto.tensor_name: \"a\"",
        "[tidlq.quantproto.tensor_ name]: \"a\"",
        "[tidlq.quantproto.provenance] {}",
        "[tidlq.quantproto.nothing]: 1",
        "[tidlq.quantproto.range_origin]: RANGE_ORIGIN_UNKNOWN",
        "[tidlq.quantproto.range_origin]: 9",
        "[tidlq.quantproto.tensor_name]: \"a",
        "[tidlq.quantproto.tensor_name]: \"a\nb\"",
        "[tidlq.quantproto.tensor_name]: \"\\xff\"",
        "[tidlq.quantproto.tensor_name]: \"\\400\"",
        "[tidlq.quantproto.tensor_name]: \"\\u0041\"",
        "[tidlq.quantproto.tensor_name]: \"\\q\"",
        "[tidlq.quantproto.tensor_name]: a",
        "\u{a0}min: 1",
        "min: 1 }",
        "ä",
        ".",
        "[",
    ] {
        assert_eq!(form.to_binary(text), None, "{text}");
    }
}

#[test]
fn a_binary_form_that_is_none_is_refused() {
    assert_eq!(form(NET).to_text(&[0x22, 0xff]), None);
    assert_eq!(form(NET).to_text(&[0x22, 0x03, 0x0a, 0x01, 0xff]), None);
}

#[test]
fn an_enumeration_without_the_number_is_refused() {
    assert_eq!(form(NET).to_text(&[0x10, 0x07]), None);
}

#[test]
fn hostile_nesting_is_refused_without_deep_recursion() {
    const RECURSIVE: &[(&str, &str)] =
        &[("r.proto", "syntax = \"proto2\"; message R { optional R r = 1; }")];
    let files = compile(RECURSIVE);
    let form = TextForm::new(files.iter().map(Vec::as_slice), "R").unwrap();
    let nested = |depth: usize| "r {".repeat(depth) + &"}".repeat(depth);
    assert!(form.to_binary(&nested(64)).is_some());
    assert_eq!(form.to_binary(&nested(65)), None);
    assert_eq!(form.to_binary(&"r {".repeat(1_000_000)), None);
    let binary = form.to_binary(&nested(64)).unwrap();
    assert_eq!(form.to_text(&binary).unwrap().matches('{').count(), 64);
}

#[test]
fn a_schema_with_other_kinds_of_fields_is_refused() {
    for source in [
        &[("m.proto", "syntax = \"proto2\"; message M { map<int32, int32> a = 1; }")],
        &[("m.proto", "syntax = \"proto2\"; message M { oneof o { int32 a = 1; } }")],
        &[("m.proto", "syntax = \"proto2\"; message M { optional group A = 1 {} }")],
        &[("m.proto", "syntax = \"proto2\"; message M { optional sfixed32 a = 1; }")],
    ] {
        assert!(schema_error(source, "M").ends_with("M.a is of an unsupported kind"));
    }
    assert!(
        schema_error(
            &[(
                "m.proto",
                "syntax = \"proto2\"; message M { extensions 9; } extend M { optional fixed32 e = 9; }"
            )],
            "M"
        )
        .ends_with("e is of an unsupported kind")
    );
}

#[test]
fn a_schema_without_the_message_or_that_is_none_is_refused() {
    assert_eq!(
        schema_error(&[("m.proto", "syntax = \"proto2\"; message M {}")], "N"),
        "the protobuf schema cannot be used: it has no message N"
    );
    assert!(TextForm::new([b"\xff".as_slice()], "M").is_err());
}

fn any_f32() -> impl Strategy<Value = f32> {
    any::<u32>().prop_map(f32::from_bits).prop_filter("not NaN", |value| !value.is_nan())
}

fn any_f64() -> impl Strategy<Value = f64> {
    any::<u64>().prop_map(f64::from_bits).prop_filter("not NaN", |value| !value.is_nan())
}

prop_compose! {
    fn any_tensor()(
        min in any_f32(),
        size in any::<u32>(),
        scale in prop::collection::vec(any_f64(), 0..4),
        zero_point in prop::collection::vec(any::<u32>(), 0..4),
        name in any::<String>(),
        channels in prop::collection::vec(any_f32(), 0..4),
        origin in 0..4,
    ) -> DynamicMessage {
        let descriptor = form(TENSOR).message;
        let list = |values: Vec<Value>| Value::List(values);
        let mut tensor = DynamicMessage::new(descriptor.clone());
        tensor.set_field_by_name("min", Value::F32(min));
        tensor.set_field_by_name("size", Value::U32(size));
        tensor.set_field_by_name("scale", list(scale.into_iter().map(Value::F64).collect()));
        tensor.set_field_by_name(
            "zero_point",
            list(zero_point.into_iter().map(Value::U32).collect()),
        );
        for (number, value) in [
            (50000, Value::String(name)),
            (50001, list(channels.into_iter().map(Value::F32).collect())),
            (50003, Value::EnumNumber(origin)),
        ] {
            tensor.set_extension(&descriptor.get_extension(number).unwrap(), value);
        }
        tensor
    }
}

proptest! {
    #[test]
    fn a_float64_is_read_back_to_the_last_bit(value in any_f64()) {
        let text = printed_f64(value);
        prop_assert!(text.len() <= 24);
        prop_assert_eq!(text.parse::<f64>().unwrap().to_bits(), value.to_bits());
    }

    #[test]
    fn a_float32_is_read_back_to_the_last_bit_through_a_float64(value in any_f32()) {
        let text = printed_f32(value);
        prop_assert!(text.len() <= 19, "{}", text);
        prop_assert_eq!((text.parse::<f64>().unwrap() as f32).to_bits(), value.to_bits());
    }

    #[test]
    fn a_message_is_read_back_equal(tensor in any_tensor()) {
        let form = form(TENSOR);
        let binary = tensor.encode_to_vec();
        let text = form.to_text(&binary).unwrap();
        prop_assert!(text.is_ascii());
        let unpacked = form.to_binary(&text).unwrap();
        let read = DynamicMessage::decode(form.message.clone(), unpacked.as_slice()).unwrap();
        prop_assert_eq!(read.encode_to_vec(), binary);
    }

    #[test]
    fn any_text_is_refused_or_read_in_a_stable_way(
        pieces in prop::collection::vec(
            prop::sample::select(vec![
                "min", "scale", "size", "[", "]", ":", ",", ";", ".", " ", "\n", "#", "1", "-", "+", "e5",
                "inf", "\"", "'", "\\", "x4", "ä", "{", "}", "<", "tidlq.quantproto.tensor_name",
                "scale: [1, 2]", "[tidlq.quantproto.tensor_name]: 'a'", "min: 1 ",
            ]),
            0..12,
        )
    ) {
        let form = form(TENSOR);
        if let Some(text) = normalized(&form, &pieces.concat()) {
            prop_assert_eq!(normalized(&form, &text).unwrap(), text);
        }
    }
}
